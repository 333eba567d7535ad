"""The texts that ``albeam bench`` measures on, and their tokens and passages."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.bench.options import CORPORA
from transforms.errors import check_at_least, check_choice
from transforms.ingest.options import PassageOptions
from transforms.ingest.windows import cut
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer

#: The file of real paragraphs in a folder of data.
REAL = "squad_dev/passages.parquet"
#: The file of their questions.
QUESTIONS = "squad_dev/questions.parquet"

_WORDS = (
    *("river", "stone", "window", "music", "garden", "winter", "market", "engine", "paper"),
    *("silver", "bridge", "valley", "summer", "cotton", "island", "planet", "history", "station"),
    *("doctor", "forest", "memory", "letter", "kitchen", "ocean", "village", "number", "colour"),
    *("the", "of", "and", "in", "to", "a", "was", "by", "for", "with", "as", "from", "1998"),
)
#: The share of words that are compounds of two, and the share that a comma follows.
_COMPOUNDS, _COMMAS = 0.155, 0.125
_LONG_EVERY = 16


def make_corpus(name: str, count: int, data: Path | None = None) -> list[str]:
    """Return the first ``count`` texts of a corpus; equal arguments give equal texts.

    Args:
        name: ``squad`` or ``skewed``.
        count: the number of texts; a real corpus that is shorter starts again.
        data: a folder with ``squad_dev/passages.parquet``, for real texts.

    Raises:
        BadInput: the corpus is unknown, or no texts are wanted.
    """
    check_choice("corpora", name, CORPORA)
    check_at_least("texts", count, 1)
    file = data / REAL if data is not None else None
    if name == "squad" and file is not None and file.is_file():
        texts = pq.read_table(file, columns=["text"]).column("text").to_pylist()
        order = np.random.default_rng(0).permutation(len(texts))
        return [str(texts[order[number % len(texts)]]) for number in range(count)]
    return (paragraphs if name == "squad" else skewed)(count)


def neighbours(texts: list[str], lengths: list[int], count: int, run: int = 32) -> list[str]:
    """Return ``count`` of the texts in runs of similar length, over all lengths, shuffled.

    A large corpus, sorted by length, gives batches with little padding; a random sample of it would
    not. These texts do, so that a short measurement is fair to systems that pad.
    """
    order = np.argsort(lengths, kind="stable")
    runs = -(-count // run)
    chosen: list[int] = []
    for number in range(runs):
        size = min(run, count - len(chosen))
        middle = int(len(texts) * (number + 0.5) / runs)
        first = max(min(middle - size // 2, len(texts) - size), 0)
        chosen += order[first : first + size].tolist()
    return [texts[place] for place in np.random.default_rng(0).permutation(chosen)]


def paragraphs(count: int, seed: int = 0) -> list[str]:
    """Generate texts with the lengths of SQuAD's development paragraphs.

    They are fitted to those 2,067 paragraphs in tokens of albeam-small: mean 170, standard
    deviation 75, quartiles 125, 155 and 199, 5 % below 80 and 5 % above 298, 1.39 tokens a word.
    As many generated texts have 169, 70, 119, 156, 205, 81, 300 and 1.39.
    """
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(4.735, 0.409, count), 22, 600).astype(int)
    return [_text(random, length) for length in lengths]


def skewed(count: int, seed: int = 0) -> list[str]:
    """Generate texts of some 25 tokens, but one in 16 of nearly 512: the worst for padding."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(2.7, 0.5, count), 3, 60).astype(int)
    for first in range(0, count, _LONG_EVERY):
        lengths[first + random.integers(min(_LONG_EVERY, count - first))] = 335
    return [_text(random, length) for length in lengths]


def _text(random: np.random.Generator, words: int) -> str:
    chosen = random.choice(_WORDS, words)
    joined = np.where(random.random(words) < _COMPOUNDS, random.choice(_WORDS, words), "")
    ends = np.where(random.random(words) < _COMMAS, ",", "")
    return " ".join(map("".join, zip(chosen, joined, ends, strict=True))) + "."


def framed_ids(tokenizer: Tokenizer, texts: Sequence[str], model: Model) -> list[list[int]]:
    """Return token ids of each text with the special tokens, cut to the model's ``max_tokens``."""
    return tokenizer.encode_framed(list(texts), model.identity.max_tokens)


def cut_texts(tokenizer: Tokenizer, texts: Sequence[str], model: Model) -> list[str]:
    """Return the passages that ``albeam embed`` cuts texts into, as the model sees them."""
    identity = model.identity
    options = PassageOptions(identity.max_tokens, prompt=identity.passage_prompt)
    tokens = tokenizer.encode([options.prompt + text for text in texts])
    return [
        options.prompt + text[window.start : window.end]
        for number, text in enumerate(texts)
        for window in cut(tokens[number], text, tokenizer, options)
    ]
