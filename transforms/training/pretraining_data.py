"""Pretraining batches: rows of segments with masked tokens, in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import count

import numpy as np
import torch

from transforms.encoder.batching import batches_by_length
from transforms.training.masking import Int64, MaskingRules, mask_tokens
from transforms.training.segment_pairs import Documents, Segments, plan_segments

#: The seed of the held-out rows, so that trainings with different seeds are measured alike.
_HELD_OUT = "held out"


@dataclass(frozen=True)
class PretrainingBatch:
    """Rows of one or two segments.

    Attributes:
        ids: what the network sees, int64 ``[rows, tokens]``, padded with -1.
        types: 0 in the first segment and 1 in the second one, int64 ``[rows, tokens]``.
        places: the masked tokens' places in ``ids.ravel()``, int64 ``[masked]``.
        targets: the tokens that stood there, int64 ``[masked]``.
        labels: 1 where the second segment does not follow the first one, int64 ``[rows]``.
    """

    ids: torch.Tensor
    types: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> PretrainingBatch:
        """Return the batch on a device."""
        return PretrainingBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class PretrainingData:
    """All batches of a pretraining.

    Attributes:
        documents: the tokenized texts.
        train: the number of documents for training; those after them are held out.
        sentence: ``sop``, ``nsp`` or ``none``.
        masking: what is masked.
        frame: the numbers of ``[CLS]`` and ``[SEP]``.
        max_tokens: the most tokens of a row.
        batch_tokens: tokens of a batch, padding included.
        seed: the seed of segments, order and masks.
    """

    documents: Documents
    train: int
    sentence: str
    masking: MaskingRules
    frame: tuple[int, int]
    max_tokens: int
    batch_tokens: int
    seed: int

    def plan(self, epoch: int) -> tuple[Segments, list[Int64]]:
        """Return the rows of a pass over the texts, and its batches as arrays of their numbers."""
        numbers = range(self.train)
        seed = (self.seed, epoch)
        segments = plan_segments(self.documents, numbers, self.sentence, self.max_tokens, seed)
        dice = np.random.default_rng(seed)
        # Rows of one document would otherwise be neighbours in the order by length.
        mixed = dice.permutation(len(segments.labels))
        batches = batches_by_length(segments.lengths[mixed], self.batch_tokens)
        return segments, [mixed[batches[at]] for at in dice.permutation(len(batches))]

    def steps(self) -> int:
        """Return the batches of the first pass; later passes have nearly as many."""
        return len(self.plan(0)[1])

    def batches(self, start: int) -> Iterator[PretrainingBatch]:
        """Yield the batches from a step on, without end. The masks of each step are its own."""
        step = 0
        for epoch in count():
            segments, batches = self.plan(epoch)
            for rows in batches:
                if step >= start:
                    yield self._batch(segments, rows, (self.seed, step))
                step += 1

    def held_out(self) -> list[PretrainingBatch]:
        """Return the batches of the held-out documents; their masks never change."""
        numbers = range(self.train, len(self.documents))
        seed = (_HELD_OUT,)
        segments = plan_segments(self.documents, numbers, self.sentence, self.max_tokens, seed)
        batches = batches_by_length(segments.lengths, self.batch_tokens)
        return [self._batch(segments, rows, (number,)) for number, rows in enumerate(batches)]

    def counts(self) -> Int64:
        """Return how often each piece occurs in the texts for training."""
        return self.documents.counts(len(self.masking.special), self.train)

    def _batch(self, segments: Segments, rows: Int64, seed: tuple[int, ...]) -> PretrainingBatch:
        cls, sep = self.frame
        lengths = segments.lengths[rows]
        ids = np.full((len(rows), int(lengths.max())), -1, np.int64)
        types = np.zeros_like(ids)
        for place, (start, middle, begin, end) in enumerate(segments.spans[rows]):
            first, second = (
                self.documents.tokens[at] for at in (slice(start, middle), slice(begin, end))
            )
            row = [cls, *first, sep, *second, *([sep] if len(second) else [])]
            ids[place, : lengths[place]] = row
            types[place, len(first) + 2 : lengths[place]] = 1
        masked = mask_tokens(ids, self.masking, seed)
        arrays = (masked.ids, types, masked.places, masked.targets, segments.labels[rows])
        return PretrainingBatch(*map(torch.from_numpy, arrays))


def unigram_accuracy(batches: list[PretrainingBatch], counts: Int64) -> float:
    """Return the share of masked tokens that are the most frequent piece."""
    targets = torch.cat([batch.targets for batch in batches])
    return float((targets == int(counts.argmax())).float().mean())
