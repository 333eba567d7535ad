"""The student's own SentencePiece unigram vocabulary, in ALBERT's conventions."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import sentencepiece as spm
from transformers import AlbertTokenizer

from transforms.errors import BadInput

SPECIAL = {"<pad>": 0, "<unk>": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
WORD_WEIGHT = 20


def normalize(text: str) -> str:
    """Normalize as ALBERT's tokenizer does: LaTeX quotes, NFKD, no accents, lower case, spaces."""
    text = unicodedata.normalize("NFKD", text.replace("``", '"').replace("''", '"'))
    text = "".join(c for c in text if unicodedata.category(c) != "Mn").lower()
    return " ".join(text.split())


def train_vocabulary(
    texts: Iterable[str], size: int, *, words: Sequence[str] = (), threads: int = 0
) -> bytes:
    """Train a unigram model of `size` pieces, the five special ones included.

    The training is deterministic: equal texts give equal pieces.

    Args:
        texts: the training texts.
        size: number of pieces.
        words: words that should become one piece. Each counts as if it occurred `WORD_WEIGHT` times
            more in the texts. SentencePiece makes a piece only of what occurs in two or more words.
        threads: threads to use; 0 for two.

    Returns:
        The serialized SentencePiece model.

    Raises:
        BadInput: the texts are too few or too uniform for so many pieces.
    """
    model = io.BytesIO()
    extra = [" ".join(words[i : i + 50]) for i in range(0, len(words), 50)] * WORD_WEIGHT
    lines: Iterator[str] = (line for line in map(normalize, chain(texts, extra)) if line)
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            normalization_rule_name="identity",
            character_coverage=0.9997,
            max_sentence_length=16384,
            num_threads=threads or 2,
            pad_id=SPECIAL["<pad>"],
            unk_id=SPECIAL["<unk>"],
            bos_id=SPECIAL["[CLS]"],
            eos_id=SPECIAL["[SEP]"],
            pad_piece="<pad>",
            unk_piece="<unk>",
            bos_piece="[CLS]",
            eos_piece="[SEP]",
            control_symbols=["[MASK]"],
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].rpartition("] ")[2].rstrip(".")
        if "required_chars" in reason:
            least = re.findall(r"\d+", reason)[-1]
            raise BadInput(
                "vocab_size",
                size,
                f"these texts have {least} different characters and special pieces",
                f"Give {least} or more",
            ) from error
        raise BadInput(
            "vocab_size",
            size,
            f"a vocabulary of this size can't be trained on these texts ({reason})",
            "Give more texts or a smaller vocabulary",
        ) from error
    return model.getvalue()


def pieces(model: bytes) -> list[tuple[str, float]]:
    """List the pieces of a serialized SentencePiece model with their log probabilities."""
    loaded = spm.SentencePieceProcessor(model_proto=model)
    return [(loaded.id_to_piece(i), loaded.get_score(i)) for i in range(loaded.get_piece_size())]


def albert_tokenizer(model: bytes, max_tokens: int) -> AlbertTokenizer:
    """Build the transformers tokenizer of a serialized SentencePiece model.

    Truncation, where it is asked for, cuts texts at `max_tokens`, special tokens included.
    """
    return AlbertTokenizer(
        vocab=pieces(model), do_lower_case=True, keep_accents=False, model_max_length=max_tokens
    )
