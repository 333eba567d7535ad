"""Distillation batches: the student's tokens beside the teacher's vectors, read part by part."""

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
from transforms.training.teacher import Lectures, Teacher, parts, tokenize

Int64 = npt.NDArray[np.int64]
PART_ROWS = 10_000
KEPT = "lessons.json"


@dataclass(frozen=True)
class Tokens:
    """The student's tokens of many texts, flat: those of text i lie at starts[i] : starts[i + 1].

    ids: int32 piece numbers; words: int32, to which word of its text each belongs; starts: int64.
    """

    ids: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    starts: Int64

    @property
    def lengths(self) -> Int64:
        """Tokens of each text, int64."""
        return np.diff(self.starts)

    def counts(self, vocabulary: int) -> list[int]:
        """Count each piece's occurrences."""
        return [int(n) for n in np.bincount(self.ids, minlength=vocabulary)]

    def rows(self, texts: Int64) -> tuple[torch.Tensor, torch.Tensor]:
        """Stack ids and words of some texts, both int64 [texts, longest], -1 for padding."""
        cuts = [slice(self.starts[i], self.starts[i + 1]) for i in texts]
        return pad([self.ids[c] for c in cuts], -1), pad([self.words[c] for c in cuts], -1)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash a tokenizer's pieces in their order: 16 hex digits."""
    numbers = tokenizer.get_vocab()
    pieces = sorted(numbers, key=lambda piece: numbers[piece])
    return hashlib.sha256("\n".join(pieces).encode()).hexdigest()[:16]


def keep_lessons(work: Path, tokens: Path, vectors: Path, texts: int, vocabulary: str) -> None:
    """Note in a work folder where the lessons lie, for `kept_lessons`."""
    note = {
        "tokens": tokens.name,
        "vectors": vectors.name,
        "texts": texts,
        "vocabulary": vocabulary,
    }
    write_text(str(work / KEPT), json.dumps(note) + "\n")


def kept_lessons(work: Path, vocabulary: str, dim: int, budget: int, seed: int) -> Lessons:
    """Find the lessons of an earlier distillation whose vectors stand.

    Args:
        work: its work folder.
        vocabulary: what `vocabulary_of` says of the tokenizer that is to learn.
        dim: how wide its vectors are.
        budget: tokens of a batch.
        seed: of the order.

    Raises:
        BadInput: there are none, or they are of another vocabulary or width.
    """
    if not (work / KEPT).exists():
        raise BadInput(f"{work} holds no lessons: name the work folder of albeam distill")
    note = json.loads((work / KEPT).read_text(encoding="utf-8"))
    if note.get("vocabulary") != vocabulary:
        raise BadInput(f"{work} was made with another vocabulary: name the model's own work folder")

    def none() -> Teacher:
        raise BadInput(f"{work} lacks a part of the teacher's vectors: run albeam distill again")

    tokens = read_tokens(work / note["tokens"])
    lectures = Lectures(none, [], work / note["vectors"], rows=PART_ROWS, max_tokens=0)
    lessons = Lessons(tokens, lectures, note["texts"], budget, seed, standing=True)
    plan = lessons.plan()
    if not plan:
        none()
    if (width := lectures.part(plan[0][0])[0].shape[1]) != dim:
        raise BadInput(
            f"{work} has vectors of {width} dimensions, and the model has {dim}: "
            "name the model's own work folder"
        )
    return lessons


def tokens_of(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int, path: Path
) -> Tokens:
    """Tokenize all texts once; a Parquet file at `path` remembers them."""
    if not path.exists():
        ids, words, lengths = [], [], [0]
        for start in range(0, len(texts), 10_000):
            found = tokenize(tokenizer, texts[start : start + 10_000], max_tokens)
            ids.append(np.concatenate(found[0]))
            words.append(np.concatenate(found[1]))
            lengths.extend(len(one) for one in found[0])
        ends = np.cumsum(lengths)
        token = pa.StructArray.from_arrays(
            [pa.array(np.concatenate(ids)), pa.array(np.concatenate(words))], ["id", "word"]
        )
        table = pa.table({"tokens": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), token)})
        with writing(str(path)) as partial:
            pq.write_table(table, partial, compression="zstd")
    return read_tokens(path)


def read_tokens(path: Path) -> Tokens:
    """Read what `tokens_of` remembered."""
    column = pq.read_table(path).combine_chunks()["tokens"].chunk(0)
    flat = column.flatten()
    return Tokens(
        flat.field("id").to_numpy(),
        flat.field("word").to_numpy(),
        column.offsets.to_numpy().astype(np.int64),
    )


@dataclass(frozen=True)
class Lesson:
    """One batch.

    ids, slots: int64 [batch, tokens], -1 for padding; vectors: float32 [batch, dim], of unit
    length; words: float32 [batch, words, dim]; known: bool [batch, words], where words counts.
    """

    ids: torch.Tensor
    slots: torch.Tensor
    vectors: torch.Tensor
    words: torch.Tensor
    known: torch.Tensor

    def to(self, device: torch.device) -> Lesson:
        """Copy to a device."""
        return Lesson(*(t.to(device) for t in vars(self).values()))


@dataclass(frozen=True)
class Lessons:
    """All batches of a distillation, in an order that depends on the seed alone.

    texts: how many are for training; the ones after them are held out. standing: use only the
    parts whose vectors have been computed already.
    """

    tokens: Tokens
    lectures: Lectures
    texts: int
    budget: int
    seed: int
    standing: bool = False

    def plan(self) -> list[tuple[int, list[Int64]]]:
        """List each part's number with its batches, as numbers of texts within the part."""
        lengths = self.tokens.lengths
        return [
            (number, batches_by_length(lengths[start:end], self.budget))
            for number, start, end in parts(self.texts, self.lectures.rows)
            if not self.standing or self.lectures.path(number).exists()
        ]

    def standing_parts(self) -> list[int]:
        """List the parts that take part: with others, the batches would be others."""
        return [number for number, _ in self.plan()]

    def steps(self) -> int:
        """Count the batches of one epoch."""
        return sum(len(batches) for _, batches in self.plan())

    def batches(self, start: int) -> Iterator[Lesson]:
        """Yield batches for ever, from the one numbered `start` on."""
        plan, skip, epoch = self.plan(), start, 0
        while True:
            for chosen in np.random.default_rng([self.seed, epoch]).permutation(len(plan)):
                number, batches = plan[chosen]
                if skip >= len(batches):
                    skip -= len(batches)
                    continue
                order = np.random.default_rng([self.seed, epoch, number]).permutation(len(batches))
                content = self.lectures.part(number)
                for index in order[skip:]:
                    yield self.lesson(number, batches[index], content)
                skip = 0
            epoch += 1

    def held_out(self) -> list[Lesson]:
        """Make the batches of the texts after the training ones."""
        made = []
        for number, start, end in parts(len(self.tokens.lengths), self.lectures.rows):
            first = max(start, self.texts)
            if first < end:
                content = self.lectures.part(number)
                for batch in batches_by_length(self.tokens.lengths[first:end], self.budget):
                    made.append(self.lesson(number, batch + (first - start), content))
        return made

    def lesson(
        self,
        number: int,
        rows: Int64,
        content: tuple[npt.NDArray[np.float16], npt.NDArray[np.float16], Int64],
    ) -> Lesson:
        """Assemble one batch of a part's rows."""
        vectors, words, starts = content
        ids, slots = self.tokens.rows(rows + number * self.lectures.rows)
        most = int(slots.max()) + 1
        target = np.zeros((len(rows), most, vectors.shape[1]), dtype=np.float32)
        last = slots.max(1).values.numpy()
        for row, i in enumerate(rows):
            taught = words[starts[i] : starts[i + 1]]
            whole = len(taught) == last[row] + 1
            count = len(taught) if whole else min(len(taught) - 1, int(last[row]))
            target[row, :count] = taught[:count]
        unit = vectors[rows].astype(np.float32)
        return Lesson(
            ids,
            slots,
            torch.nn.functional.normalize(torch.from_numpy(unit), dim=-1),
            torch.from_numpy(target),
            torch.from_numpy(np.abs(target).sum(-1) > 0),
        )
