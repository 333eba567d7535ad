"""What the student learns from: a teacher's sentence and word vectors, computed once.

The vectors lie in numbered Parquet parts. A row is a text; its words are the whitespace-separated
words of the text, which every tokenizer shares, framed by the first and last special token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from transforms.encoder.batching import Batch, batches_by_length, pad
from transforms.encoder.encoder import load_encoder
from transforms.encoder.network import pool
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.storage.output_files import writing

Int32 = npt.NDArray[np.int32]


def word_starts(text: str) -> Int32:
    """Find the offsets at which whitespace-separated words begin."""
    blank = np.fromiter((c.isspace() for c in text), dtype=bool, count=len(text))
    before = np.concatenate(([True], blank[:-1]))
    return np.flatnonzero(before & ~blank).astype(np.int32)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> tuple[list[Int32], list[Int32]]:
    """Tokenize texts, cut at `max_tokens`, and say to which word each token belongs.

    Returns two lists of int32 arrays of equal lengths: ids, and word numbers, where 0 is the first
    special token, 1 the first word, and the last token (a special one) has the number after the
    last word that is left.
    """
    found = tokenizer(
        list(texts), truncation=True, max_length=max_tokens, return_offsets_mapping=True
    )
    ids_of, words_of = [], []
    for text, ids, offsets in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        begins = np.asarray(offsets, dtype=np.int32)[:, 0]
        words = np.searchsorted(word_starts(text), begins, side="right").astype(np.int32)
        words[0] = 0
        words[-1] = words[:-1].max(initial=0) + 1
        ids_of.append(np.asarray(ids, dtype=np.int32))
        words_of.append(words)
    return ids_of, words_of


def word_means(hidden: torch.Tensor, words: torch.Tensor, most: int) -> torch.Tensor:
    """Average token states into word vectors.

    hidden: float [batch, tokens, dim]; words: int64 [batch, tokens], -1 for padding; returns
    [batch, most, dim] of hidden's dtype, zero where a word has no token.
    """
    batch, _, dim = hidden.shape
    slots = torch.where(words < 0, most, words.clamp(max=most))
    sums = hidden.new_zeros(batch, most + 1, dim)
    sums = sums.scatter_add(1, slots.unsqueeze(-1).expand(-1, -1, dim), hidden)
    ones = torch.ones_like(hidden[..., 0])
    counts = hidden.new_zeros(batch, most + 1).scatter_add(1, slots, ones)
    return (sums / counts.clamp(min=1).unsqueeze(-1))[:, :most]


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average the real tokens' states, normalized: [batch, tokens, dim] -> float32 [batch, dim]."""
    weights = mask.unsqueeze(-1).to(torch.float32)
    pooled = (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(pooled, dim=-1)


class Teacher:
    """A mean-pooled sentence encoder, read from a sentence-transformers folder."""

    def __init__(self, folder: Path, placement: Placement) -> None:
        """Load it. Raises BadInput where the folder has no mean-pooled sentence vectors."""
        check_teacher(folder)
        self.encoder = load_encoder(find_model(ModelOptions(str(folder))), placement)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.dim = self.encoder.identity.dim

    def encode(
        self, texts: Sequence[str], max_tokens: int
    ) -> tuple[npt.NDArray[np.float16], list[npt.NDArray[np.float16]]]:
        """Encode texts: float16 [texts, dim] of unit length, and for each text [words + 2, dim]."""
        ids, words = tokenize(self.tokenizer, texts, max_tokens)
        vectors = np.empty((len(texts), self.dim), dtype=np.float16)
        spans: list[Any] = [None] * len(texts)
        tokens = pa.array(ids, pa.list_(pa.int32()))
        lengths = np.asarray([len(row) for row in ids], dtype=np.int64)

        def fill(rows: npt.NDArray[np.int64]) -> None:
            states = self.encoder.states(Batch.take(tokens, rows)).float().cpu()
            counts = torch.from_numpy(lengths[rows])
            means = torch.nn.functional.normalize(pool(states, counts, "mean"), dim=-1)
            vectors[rows] = means.half().numpy()
            slots = pad([words[i] for i in rows], -1)
            most = int(slots.max()) + 1
            texts_of = torch.split(states, counts.tolist())
            stacked = torch.nn.utils.rnn.pad_sequence(list(texts_of), batch_first=True)
            found = word_means(stacked, slots, most).half().numpy()
            for row, i in enumerate(rows):
                spans[i] = found[row, : int(words[i][-1]) + 1].copy()

        self.encoder.cores.map(fill, batches_by_length(lengths, self.encoder.budget))
        return vectors, spans


def check_teacher(folder: Path) -> None:
    """Raise BadInput unless the folder is a sentence encoder with mean pooling alone."""
    if not (folder / "config.json").is_file():
        raise BadInput(f"teacher {folder} has no config.json: name a model folder")
    pooling = folder / "1_Pooling" / "config.json"
    if not pooling.is_file():
        raise BadInput(
            f"teacher {folder} has no 1_Pooling/config.json and so no sentence vectors: "
            "name a sentence-transformers folder"
        )
    found = json.loads(pooling.read_text())
    if not (found.get("pooling_mode_mean_tokens") or found.get("pooling_mode") == "mean"):
        raise BadInput(f"teacher {folder} does not pool by mean: choose one that does")
    find_model(ModelOptions(str(folder)))


def width_of(folder: Path) -> int:
    """Dimensions of a teacher's vectors."""
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])


def parts(texts: int, rows: int) -> Iterator[tuple[int, int, int]]:
    """List number, first and past-the-last text of each part."""
    for number, start in enumerate(range(0, texts, rows)):
        yield number, start, min(start + rows, texts)


def write_part(
    path: Path, vectors: npt.NDArray[np.float16], spans: Sequence[npt.NDArray[np.float16]]
) -> None:
    """Write one part atomically: vector: half[dim], words: list of half[dim]."""
    dim = vectors.shape[1]
    ends = np.cumsum([0] + [len(one) for one in spans], dtype=np.int32)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(spans).reshape(-1)), dim)
    table = pa.table(
        {
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
            "words": pa.ListArray.from_arrays(pa.array(ends), flat),
        }
    )
    with writing(str(path)) as partial:
        pq.write_table(
            table, partial, compression="none", use_dictionary=False, write_statistics=False
        )


def read_part(
    path: Path,
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """Read a part: vectors [texts, dim], all words [words, dim], and where each text's begin."""
    table = pq.read_table(path).combine_chunks()
    vector, words = table["vector"].chunk(0), table["words"].chunk(0)
    dim = vector.type.list_size
    return (
        vector.flatten().to_numpy().reshape(-1, dim),
        words.flatten().flatten().to_numpy().reshape(-1, dim),
        words.offsets.to_numpy().astype(np.int64),
    )


class Lectures:
    """The parts of a teacher's vectors of many texts, each computed when it is first asked for."""

    def __init__(
        self,
        teacher: Callable[[], Teacher],
        texts: Sequence[str],
        folder: Path,
        *,
        rows: int,
        max_tokens: int,
    ) -> None:
        """Prepare; the teacher is loaded with the first part that does not stand yet."""
        self.teacher, self.texts, self.folder = teacher, texts, folder
        self.rows, self.max_tokens = rows, max_tokens
        self.loaded: Teacher | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, number: int) -> Path:
        """Name a part's file."""
        return self.folder / f"part-{number:05}.parquet"

    def part(
        self, number: int
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16], npt.NDArray[np.int64]]:
        """Read a part, computed first if need be: see `read_part`."""
        path = self.path(number)
        if not path.exists():
            self.loaded = self.loaded or self.teacher()
            texts = self.texts[number * self.rows : (number + 1) * self.rows]
            write_part(path, *self.loaded.encode(texts, self.max_tokens))
        return read_part(path)
