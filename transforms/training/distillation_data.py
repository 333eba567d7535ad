"""Distillation batches: the student's tokens with the teacher's vectors, read part by part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedTokenizerBase

from transforms.encoder.batching import batches_by_length, pad
from transforms.errors import BadInput
from transforms.storage.output_files import write_text, writing
from transforms.training.teacher import Part, Teacher, TeacherVectors, part_ranges, tokenize

Int64 = npt.NDArray[np.int64]
PART_ROWS = 10_000
#: The file of a work folder that names the distillation data in it. Existing folders have the name.
DATA_FILE = "lessons.json"


@dataclass(frozen=True)
class Tokens:
    """The student's tokens of many texts, one text after the other.

    Attributes:
        ids: token ids; those of text i are at starts[i] : starts[i + 1].
        word_ids: the word of its text that each token belongs to.
        starts: where the tokens of each text start; the last entry is the end of the last text.
    """

    ids: npt.NDArray[np.int32]
    word_ids: npt.NDArray[np.int32]
    starts: Int64

    @property
    def lengths(self) -> Int64:
        """The number of tokens of each text."""
        return np.diff(self.starts)

    def counts(self, vocabulary: int) -> list[int]:
        """Count the occurrences of each token id."""
        return [int(n) for n in np.bincount(self.ids, minlength=vocabulary)]

    def padded(self, texts: Int64) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and word ids of some texts, int64 [texts, longest], padded with -1."""
        cuts = [slice(self.starts[i], self.starts[i + 1]) for i in texts]
        return pad([self.ids[c] for c in cuts], -1), pad([self.word_ids[c] for c in cuts], -1)


def vocabulary_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash a tokenizer's pieces in their order: 16 hex digits."""
    numbers = tokenizer.get_vocab()
    pieces = sorted(numbers, key=lambda piece: numbers[piece])
    return hashlib.sha256("\n".join(pieces).encode()).hexdigest()[:16]


def tokenize_corpus(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int, path: Path
) -> Tokens:
    """Tokenize all texts, or read the tokens that an earlier call wrote to `path`."""
    if not path.exists():
        ids, word_ids, lengths = [], [], [0]
        for start in range(0, len(texts), 10_000):
            found = tokenize(tokenizer, texts[start : start + 10_000], max_tokens)
            ids.append(np.concatenate(found[0]))
            word_ids.append(np.concatenate(found[1]))
            lengths.extend(len(one) for one in found[0])
        ends = np.cumsum(lengths)
        token = pa.StructArray.from_arrays(
            [pa.array(np.concatenate(ids)), pa.array(np.concatenate(word_ids))], ["id", "word"]
        )
        table = pa.table({"tokens": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), token)})
        with writing(str(path)) as partial:
            pq.write_table(table, partial, compression="zstd")
    return read_tokens(path)


def read_tokens(path: Path) -> Tokens:
    """Read the tokens that `tokenize_corpus` wrote."""
    column = pq.read_table(path).combine_chunks()["tokens"].chunk(0)
    flat = column.flatten()
    return Tokens(
        flat.field("id").to_numpy(),
        flat.field("word").to_numpy(),
        column.offsets.to_numpy().astype(np.int64),
    )


@dataclass(frozen=True)
class DistillationBatch:
    """One batch of a distillation.

    Attributes:
        ids: token ids, int64 [batch, tokens]; -1 is padding.
        word_ids: the word of each token, int64 [batch, tokens]; -1 is padding.
        vectors: the teacher's sentence vectors, float32 [batch, dim], of unit length.
        word_vectors: the teacher's word vectors, float32 [batch, words, dim].
        word_mask: which word vectors count, bool [batch, words].
    """

    ids: torch.Tensor
    word_ids: torch.Tensor
    vectors: torch.Tensor
    word_vectors: torch.Tensor
    word_mask: torch.Tensor

    def to(self, device: torch.device) -> DistillationBatch:
        """Copy the batch to a device."""
        return DistillationBatch(*(t.to(device) for t in vars(self).values()))


@dataclass(frozen=True)
class DistillationData:
    """All batches of a distillation, in an order that depends on the seed alone.

    Attributes:
        tokens: the student's tokens of all texts.
        targets: the teacher's vectors of the same texts.
        train_texts: the number of texts for training; the texts after them are held out.
        batch_tokens: tokens of a batch, padding included.
        seed: the seed of the order.
        existing_only: use only the parts of ``targets`` that have been computed already.
    """

    tokens: Tokens
    targets: TeacherVectors
    train_texts: int
    batch_tokens: int
    seed: int
    existing_only: bool = False

    def plan(self) -> list[tuple[int, list[Int64]]]:
        """Return each part's number and batches; a batch is an array of rows of the part."""
        lengths = self.tokens.lengths
        return [
            (number, batches_by_length(lengths[start:end], self.batch_tokens))
            for number, start, end in part_ranges(self.train_texts, self.targets.rows)
            if not self.existing_only or self.targets.path(number).exists()
        ]

    def part_numbers(self) -> list[int]:
        """Return the numbers of the parts in use; they determine the batches."""
        return [number for number, _ in self.plan()]

    def steps(self) -> int:
        """Count the batches of one epoch."""
        return sum(len(batches) for _, batches in self.plan())

    def batches(self, start: int) -> Iterator[DistillationBatch]:
        """Yield batches without end, from the one numbered `start` on."""
        plan, skip, epoch = self.plan(), start, 0
        while True:
            for chosen in np.random.default_rng([self.seed, epoch]).permutation(len(plan)):
                number, batches = plan[chosen]
                if skip >= len(batches):
                    skip -= len(batches)
                    continue
                order = np.random.default_rng([self.seed, epoch, number]).permutation(len(batches))
                content = self.targets.part(number)
                for index in order[skip:]:
                    yield self._batch(number, batches[index], content)
                skip = 0
            epoch += 1

    def held_out(self) -> list[DistillationBatch]:
        """Return the batches of the texts that are held out."""
        made = []
        for number, start, end in part_ranges(len(self.tokens.lengths), self.targets.rows):
            first = max(start, self.train_texts)
            if first < end:
                content = self.targets.part(number)
                for rows in batches_by_length(self.tokens.lengths[first:end], self.batch_tokens):
                    made.append(self._batch(number, rows + (first - start), content))
        return made

    def _batch(self, number: int, rows: Int64, content: Part) -> DistillationBatch:
        """Assemble the batch of some rows of a part."""
        vectors, words, starts = content
        ids, word_ids = self.tokens.padded(rows + number * self.targets.rows)
        count = int(word_ids.max()) + 1
        target = np.zeros((len(rows), count, vectors.shape[1]), dtype=np.float32)
        last = word_ids.max(1).values.numpy()
        for row, i in enumerate(rows):
            taught = words[starts[i] : starts[i + 1]]
            # Where only one of the two tokenizers cut the text, its last words differ.
            whole = len(taught) == last[row] + 1
            common = len(taught) if whole else min(len(taught) - 1, int(last[row]))
            target[row, :common] = taught[:common]
        unit = vectors[rows].astype(np.float32)
        return DistillationBatch(
            ids,
            word_ids,
            torch.nn.functional.normalize(torch.from_numpy(unit), dim=-1),
            torch.from_numpy(target),
            torch.from_numpy(np.abs(target).sum(-1) > 0),
        )


def record_data(work: Path, tokens: Path, vectors: Path, texts: int, vocabulary: str) -> None:
    """Write to a work folder which files hold its distillation data, for `load_data`."""
    note = {
        "tokens": tokens.name,
        "vectors": vectors.name,
        "texts": texts,
        "vocabulary": vocabulary,
    }
    write_text(str(work / DATA_FILE), json.dumps(note) + "\n")


def load_data(
    work: Path, vocabulary: str, dim: int, batch_tokens: int, seed: int
) -> DistillationData:
    """Load the data of an earlier distillation, as far as its vectors have been computed.

    Args:
        work: the work folder of the distillation.
        vocabulary: the `vocabulary_hash` of the student's tokenizer.
        dim: the width of the student's vectors.
        batch_tokens: tokens of a batch.
        seed: the seed of the order.

    Raises:
        BadInput: the folder holds no data, or data of another vocabulary or width.
    """
    if not (work / DATA_FILE).exists():
        raise BadInput(
            "distilled",
            str(work),
            "holds no distillation data",
            "Name the work folder of albeam distill",
        )
    note = json.loads((work / DATA_FILE).read_text(encoding="utf-8"))
    if note.get("vocabulary") != vocabulary:
        raise BadInput(
            "distilled",
            str(work),
            "was made with another vocabulary",
            "Name the work folder of this model",
        )

    def missing() -> Teacher:
        raise BadInput(
            "distilled",
            str(work),
            "lacks a part of the teacher's vectors",
            "Run albeam distill again",
        )

    tokens = read_tokens(work / note["tokens"])
    targets = TeacherVectors(missing, [], work / note["vectors"], rows=PART_ROWS, max_tokens=0)
    data = DistillationData(tokens, targets, note["texts"], batch_tokens, seed, existing_only=True)
    numbers = data.part_numbers()
    if not numbers:
        missing()
    if (width := targets.part(numbers[0])[0].shape[1]) != dim:
        raise BadInput(
            "distilled",
            str(work),
            f"has vectors of {width} dimensions, and the model has {dim}",
            "Name the work folder of this model",
        )
    return data
