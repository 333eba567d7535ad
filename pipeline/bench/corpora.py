"""What ``albeam bench`` measures on: two corpora of texts and two shapes of model."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from transforms.errors import BadInput
from transforms.ingest.options import PassageOptions
from transforms.ingest.windows import cut
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.resolve import Model, find_model
from transforms.models.tokenizer import Tokenizer

CORPORA = ("squad", "skewed")
SHAPES = ("albert-base", "albeam-small")
#: Where real paragraphs lie in a folder of data.
REAL = "squad_dev/passages.parquet"

#: Of ALBERT-base in its second version, but for the vocabulary, which is the tokenizer's.
_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "embedding_size": 128,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 512,
}
_WORDS = (
    *("river", "stone", "window", "music", "garden", "winter", "market", "engine", "paper"),
    *("silver", "bridge", "valley", "summer", "cotton", "island", "planet", "history", "station"),
    *("doctor", "forest", "memory", "letter", "kitchen", "ocean", "village", "number", "colour"),
    *("the", "of", "and", "in", "to", "a", "was", "by", "for", "with", "as", "from", "1998"),
)
#: Shares of words that two are joined to, and that a comma follows.
_COMPOUNDS, _COMMAS = 0.155, 0.125
_LONG_EVERY = 16


def make_corpus(name: str, count: int, data: Path | None = None) -> list[str]:
    """The first ``count`` texts of a corpus; the same ones for the same arguments.

    Args:
        name: ``squad`` or ``skewed``.
        count: how many; a real corpus that is shorter starts again.
        data: a folder with ``squad_dev/passages.parquet``, for real texts.

    Raises:
        BadInput: no such corpus, or nothing to make.
    """
    if name not in CORPORA:
        raise BadInput(f"corpus {name!r} is not one of {', '.join(CORPORA)}")
    if count < 1:
        raise BadInput(f"{count} texts measure nothing; give 1 or more")
    file = data / REAL if data is not None else None
    if name == "squad" and file is not None and file.is_file():
        texts = pq.read_table(file, columns=["text"]).column("text").to_pylist()
        order = np.random.default_rng(0).permutation(len(texts))
        return [str(texts[order[number % len(texts)]]) for number in range(count)]
    return (paragraphs if name == "squad" else skewed)(count)


def neighbours(texts: list[str], lengths: list[int], count: int, run: int = 32) -> list[str]:
    """``count`` of the texts in runs of neighbouring length, spread over all lengths, shuffled.

    A large corpus, sorted by length, gives batches with little padding; a few of its texts would
    not. These few do, so that a short run is fair to what pads.
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
    """Seeded texts with the lengths of SQuAD's development paragraphs.

    Fitted to those 2,067 paragraphs in tokens of albeam-small: mean 170, standard deviation 75,
    quartiles 125, 155 and 199, 5 % below 80 and 5 % above 298, 1.39 tokens a word. These have 169,
    70, 119, 156, 205, 81, 300 and 1.39 over as many texts.
    """
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(4.735, 0.409, count), 22, 600).astype(int)
    return [_text(random, length) for length in lengths]


def skewed(count: int, seed: int = 0) -> list[str]:
    """Seeded texts of some 25 tokens, but one in 16 of nearly 512, where padding hurts most."""
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


def model_folder(shape: str, work: Path) -> str:
    """The name or folder of a model of this shape; one that is not shipped is made in ``work``.

    Raises:
        BadInput: no such shape.
    """
    if shape not in SHAPES:
        raise BadInput(f"shape {shape!r} is not one of {', '.join(SHAPES)}")
    return DEFAULT_MODEL if shape == DEFAULT_MODEL else str(make_base(work / shape))


def make_base(folder: Path) -> Path:
    """Save ALBERT-base with seeded random weights and albeam-small's tokenizer.

    transformers, sentence-transformers and albeam load the folder offline: mean pooling,
    normalized, 512 tokens.
    """
    from transformers import AlbertConfig, AlbertModel, set_seed

    small = Path(find_model(ModelOptions(DEFAULT_MODEL)).folder)
    vocabulary = json.loads((small / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    set_seed(0)
    # Wide enough apart that vectors of different texts differ.
    config = AlbertConfig(vocab_size=vocabulary, initializer_range=0.04, **_BASE)
    network = AlbertModel(config, add_pooling_layer=False)
    network.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "modules.json"):
        shutil.copy(small / name, folder / name)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 512}))
    lengths = {"max_seq_length": 512, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(lengths))
    for module in ("1_Pooling", "2_Normalize"):
        (folder / module).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": 768, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def framed_ids(tokenizer: Tokenizer, texts: Sequence[str], model: Model) -> list[list[int]]:
    """Token ids of each text between the special tokens, cut to the model's ``max_tokens``."""
    return tokenizer.encode_framed(list(texts), model.identity.max_tokens)


def cut_texts(tokenizer: Tokenizer, texts: Sequence[str], model: Model) -> list[str]:
    """The passages that ``albeam embed`` cuts texts into, as the model sees them."""
    identity = model.identity
    options = PassageOptions(identity.max_tokens, prompt=identity.passage_prompt)
    tokens = tokenizer.encode([options.prompt + text for text in texts])
    return [
        options.prompt + text[window.start : window.end]
        for number, text in enumerate(texts)
        for window in cut(tokens[number], text, tokenizer, options)
    ]
