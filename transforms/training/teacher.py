"""The teacher's sentence and word vectors, computed once and kept in numbered Parquet parts.

A row is a text. Its words are separated by whitespace, so that all tokenizers agree on them. The
first and the last special token count as words too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedTokenizerBase

from transforms.encoder.batching import Batch, batches_by_length, pad
from transforms.encoder.encoder import load_encoder
from transforms.encoder.network import pool
from transforms.errors import BadInput
from transforms.models.model_files import read_object
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.models.tokenizer import load_fast_tokenizer
from transforms.storage.output_files import writing

Int32 = npt.NDArray[np.int32]
Float16 = npt.NDArray[np.float16]
#: Sentence vectors [texts, dim], all word vectors [words, dim], and where each text's words start.
Part = tuple[Float16, Float16, npt.NDArray[np.int64]]


def word_starts(text: str) -> Int32:
    """Return the offsets at which words separated by whitespace start."""
    blank = np.fromiter((c.isspace() for c in text), dtype=bool, count=len(text))
    before = np.concatenate(([True], blank[:-1]))
    return np.flatnonzero(before & ~blank).astype(np.int32)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> tuple[list[Int32], list[Int32]]:
    """Tokenize texts, cut at `max_tokens`.

    Returns:
        The token ids and the word ids of each text, int32 arrays of equal lengths. The first
        special token has the word id 0, the tokens of the first word have 1, and so on. The last
        token, a special one, has the id after that of the last word.
    """
    found = tokenizer(
        list(texts), truncation=True, max_length=max_tokens, return_offsets_mapping=True
    )
    token_ids, word_ids = [], []
    for text, ids, offsets in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        starts = np.asarray(offsets, dtype=np.int32)[:, 0]
        words = np.searchsorted(word_starts(text), starts, side="right").astype(np.int32)
        words[0] = 0
        words[-1] = words[:-1].max(initial=0) + 1
        token_ids.append(np.asarray(ids, dtype=np.int32))
        word_ids.append(words)
    return token_ids, word_ids


def word_means(hidden: torch.Tensor, word_ids: torch.Tensor, count: int) -> torch.Tensor:
    """Average the states of tokens into word vectors.

    Args:
        hidden: float [batch, tokens, dim].
        word_ids: int64 [batch, tokens]; -1 is padding.
        count: words of each text.

    Returns:
        [batch, count, dim] of the dtype of ``hidden``, zero where a word has no token.
    """
    batch, _, dim = hidden.shape
    slots = torch.where(word_ids < 0, count, word_ids.clamp(max=count))
    sums = hidden.new_zeros(batch, count + 1, dim)
    sums = sums.scatter_add(1, slots.unsqueeze(-1).expand(-1, -1, dim), hidden)
    ones = torch.ones_like(hidden[..., 0])
    counts = hidden.new_zeros(batch, count + 1).scatter_add(1, slots, ones)
    return (sums / counts.clamp(min=1).unsqueeze(-1))[:, :count]


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average the states of real tokens, normalized: [batch, tokens, dim] to [batch, dim]."""
    weights = mask.unsqueeze(-1).to(torch.float32)
    pooled = (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(pooled, dim=-1)


class Teacher:
    """A sentence encoder with mean pooling, read from a sentence-transformers folder."""

    def __init__(self, folder: Path, placement: Placement) -> None:
        """Load the model. Raises BadInput if the folder has no mean-pooled sentence vectors."""
        check_teacher(folder)
        self.encoder = load_encoder(find_model(ModelOptions(str(folder))), placement)
        self.tokenizer: Any = load_fast_tokenizer(str(folder), str(folder))
        self.dim = self.encoder.identity.dim

    def encode(self, texts: Sequence[str], max_tokens: int) -> tuple[Float16, list[Float16]]:
        """Return the unit vectors [texts, dim] and each text's word vectors [words + 2, dim]."""
        ids, word_ids = tokenize(self.tokenizer, texts, max_tokens)
        vectors = np.empty((len(texts), self.dim), dtype=np.float16)
        word_vectors: list[Any] = [None] * len(texts)
        tokens = pa.array(ids, pa.list_(pa.int32()))
        lengths = np.asarray([len(row) for row in ids], dtype=np.int64)

        def fill(rows: npt.NDArray[np.int64]) -> None:
            states = self.encoder.states(Batch.take(tokens, rows)).float().cpu()
            counts = torch.from_numpy(lengths[rows])
            means = torch.nn.functional.normalize(pool(states, counts, "mean"), dim=-1)
            vectors[rows] = means.half().numpy()
            slots = pad([word_ids[i] for i in rows], -1)
            words = int(slots.max()) + 1
            states_of_texts = torch.split(states, counts.tolist())
            stacked = torch.nn.utils.rnn.pad_sequence(list(states_of_texts), batch_first=True)
            found = word_means(stacked, slots, words).half().numpy()
            for row, i in enumerate(rows):
                word_vectors[i] = found[row, : int(word_ids[i][-1]) + 1].copy()

        self.encoder.cores.map(fill, batches_by_length(lengths, self.encoder.budget))
        return vectors, word_vectors


def check_teacher(folder: Path) -> None:
    """Raise BadInput unless the folder is a sentence encoder that pools by mean alone."""
    if not (folder / "config.json").is_file():
        raise BadInput("teacher", str(folder), "has no config.json", "Name a model folder")
    pooling = folder / "1_Pooling" / "config.json"
    if not pooling.is_file():
        raise BadInput(
            "teacher",
            str(folder),
            "has no 1_Pooling/config.json and so no sentence vectors",
            "Name a sentence-transformers folder",
        )
    found = read_object(str(folder), "1_Pooling/config.json", str(folder))
    if not (found.get("pooling_mode_mean_tokens") or found.get("pooling_mode") == "mean"):
        raise BadInput(
            "teacher", str(folder), "does not pool by mean", "Name a model that pools by mean"
        )
    find_model(ModelOptions(str(folder)))


def vector_width(folder: Path) -> int:
    """Return the dimensions of a teacher's vectors."""
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])


def part_ranges(texts: int, rows: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number, the first text and the end of each part."""
    for number, start in enumerate(range(0, texts, rows)):
        yield number, start, min(start + rows, texts)


def write_part(path: Path, vectors: Float16, word_vectors: Sequence[Float16]) -> None:
    """Write one part atomically: vector: half[dim], words: list of half[dim]."""
    dim = vectors.shape[1]
    ends = np.cumsum([0] + [len(one) for one in word_vectors], dtype=np.int32)
    flat = pa.FixedSizeListArray.from_arrays(
        pa.array(np.concatenate(word_vectors).reshape(-1)), dim
    )
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


def read_part(path: Path) -> Part:
    """Read what `write_part` wrote."""
    table = pq.read_table(path).combine_chunks()
    vector, words = table["vector"].chunk(0), table["words"].chunk(0)
    dim = vector.type.list_size
    return (
        vector.flatten().to_numpy().reshape(-1, dim),
        words.flatten().flatten().to_numpy().reshape(-1, dim),
        words.offsets.to_numpy().astype(np.int64),
    )


class Encodes(Protocol):
    """What embeds texts as targets of a distillation."""

    def encode(self, texts: Sequence[str], max_tokens: int) -> tuple[Float16, list[Float16]]:
        """Return the unit vectors [texts, dim] and each text's word vectors [words + 2, dim]."""
        ...


class TeacherVectors:
    """A teacher's vectors of many texts, in parts that are computed when first read."""

    def __init__(
        self,
        teacher: Callable[[], Encodes],
        texts: Sequence[str],
        folder: Path,
        *,
        rows: int,
        max_tokens: int,
    ) -> None:
        """Prepare the folder of parts.

        Args:
            teacher: loads the teacher; called when the first missing part is read.
            texts: the texts, in order.
            folder: where the parts are.
            rows: texts of a part.
            max_tokens: where texts are cut.
        """
        self.teacher, self.texts, self.folder = teacher, texts, folder
        self.rows, self.max_tokens = rows, max_tokens
        self.loaded: Encodes | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, number: int) -> Path:
        """Return the path of a part's file."""
        return self.folder / f"part-{number:05}.parquet"

    def part(self, number: int) -> Part:
        """Read a part; compute it first if it is missing."""
        path = self.path(number)
        if not path.exists():
            self.loaded = self.loaded or self.teacher()
            texts = self.texts[number * self.rows : (number + 1) * self.rows]
            write_part(path, *self.loaded.encode(texts, self.max_tokens))
        return read_part(path)
