"""The training of a sentence encoder on pairs of texts with a score of their similarity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from transforms.errors import BadInput
from transforms.tasks.metrics.correlations import Floats, spearman
from transforms.training.contrastive import embed_all
from transforms.training.epochs import batches_from
from transforms.training.hard_negatives import Int32
from transforms.training.inputs import read_columns
from transforms.training.student import Student

Int64 = npt.NDArray[np.int64]
#: Multiplies the differences of cosines, as in sentence-transformers.
_SCALE = 20.0


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of texts with the score of their similarity, float64 ``[pairs]``."""

    first: list[str]
    second: list[str]
    scores: Floats

    def __len__(self) -> int:
        return len(self.first)

    def texts(self) -> list[str]:
        """Return all first texts, then all second texts."""
        return [*self.first, *self.second]

    def take(self, rows: Int64) -> ScoredPairs:
        """Return some of the pairs."""
        return ScoredPairs(
            [self.first[row] for row in rows], [self.second[row] for row in rows], self.scores[rows]
        )


def read_scored_pairs(
    files: Sequence[Path], option: str, first: str, second: str, score: str
) -> ScoredPairs:
    """Read pairs of texts and their scores from Parquet files.

    Args:
        files: the files.
        option: the option that names them, for messages.
        first: the column of the first texts.
        second: the column of the second texts.
        score: the column of numbers, of any scale.

    Raises:
        BadInput: a file can't be read, a column is missing, of another type or has nulls, a score
            is not finite, or all scores are equal.
    """
    columns = {first: "text", second: "text", score: "number"}
    tables = [read_columns(path, option, columns) for path in files]
    source = ", ".join(map(str, files))
    parts = [np.asarray(table[score].to_numpy(), np.float64) for table in tables]
    for path, part in zip(files, parts, strict=True):
        if not np.isfinite(part).all():
            row = int(np.flatnonzero(~np.isfinite(part))[0])
            problem = f"row {row} has a {score} that is not finite"
            raise BadInput(option, str(path), problem, "Correct it or remove the row")
    scores = np.concatenate(parts)
    if len(np.unique(scores)) < 2:
        problem = f"has {len(scores)} rows with one {score} only"
        raise BadInput(option, source, problem, "Give pairs of different scores")
    return ScoredPairs(
        [text for table in tables for text in table[first].to_pylist()],
        [text for table in tables for text in table[second].to_pylist()],
        scores,
    )


def ranking_loss(cosines: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Return the CoSENT loss: each pair with a higher score should have a higher cosine.

    Source: Su, CoSENT (2022), https://kexue.fm/archives/8847.

    Args:
        cosines: float32 ``[pairs]``.
        scores: of any scale, ``[pairs]``.
    """
    gaps = _SCALE * (cosines[:, None] - cosines[None, :])
    wrong = scores[:, None] < scores[None, :]
    return torch.cat([gaps.new_zeros(1), gaps[wrong]]).logsumexp(0)


@dataclass(frozen=True)
class PairBatch:
    """A batch of pairs.

    Attributes:
        rows: the token ids of the pass: of all first texts, then of all second texts.
        pairs: the numbers of the batch's pairs.
    """

    rows: Sequence[Int32]
    pairs: Int64


class PairBatches:
    """All batches of pairs, at random, of at most so many tokens; they depend on the seed alone."""

    def __init__(
        self, rows: Callable[[int], Sequence[Int32]], batch_tokens: int, seed: int
    ) -> None:
        """Prepare batches.

        Args:
            rows: returns the token ids of the pass with a number: of all first texts, then of all
                second texts.
            batch_tokens: tokens of a batch.
            seed: the seed of the order.
        """
        self.rows, self.batch_tokens, self.seed = rows, batch_tokens, seed

    def epoch(self, number: int) -> list[PairBatch]:
        """Return the batches of one pass over the data; a batch has two pairs or more."""
        rows = self.rows(number)
        lengths = np.asarray([len(row) for row in rows], np.int64).reshape(2, -1).sum(0)
        order = np.random.default_rng([self.seed, number]).permutation(len(lengths))
        batch = (np.cumsum(lengths[order]) - 1) // self.batch_tokens
        made = np.split(order, np.flatnonzero(np.diff(batch)) + 1)
        kept = [pairs for pairs in made if len(pairs) > 1] or [order]
        return [PairBatch(rows, pairs) for pairs in kept]

    def batches(self, start: int) -> Iterator[PairBatch]:
        """Return batches without end, from the one numbered ``start`` on."""
        return batches_from(self.epoch, start)


class SimilarityObjective:
    """The loss and the validation of a similarity."""

    def __init__(self, student: Student, scores: Floats, batch_tokens: int) -> None:
        """Combine a student with its pairs.

        Args:
            student: the network to train.
            scores: the scores of the pairs.
            batch_tokens: tokens that the student encodes at once.
        """
        self.student, self.batch_tokens = student, batch_tokens
        self.scores = torch.from_numpy(scores)

    def loss(self, batch: PairBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the ranking loss of a batch, and no parts to report."""
        cosines = self._cosines(batch.rows, batch.pairs, len(self.scores))
        return ranking_loss(cosines, self.scores[batch.pairs].to(cosines.device)), {}

    def evaluate(self, rows: Sequence[Int32], scores: Floats) -> dict[str, float]:
        """Return Spearman's correlation of the cosines with the scores of validation pairs."""
        found = self._cosines(rows, np.arange(len(scores)), len(scores)).cpu().numpy()
        rho = spearman(found, scores)
        return {"score": rho, "spearman": rho}

    def _cosines(self, rows: Sequence[Int32], pairs: Int64, count: int) -> torch.Tensor:
        texts = [rows[pair] for pair in pairs] + [rows[count + pair] for pair in pairs]
        vectors = embed_all(self.student, texts, self.batch_tokens)
        return (vectors[: len(pairs)] * vectors[len(pairs) :]).sum(1)
