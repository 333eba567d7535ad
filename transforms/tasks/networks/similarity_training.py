"""The training of a sentence encoder on pairs of texts with a score of their similarity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transforms.errors import BadInput
from transforms.training.contrastive import embed_all
from transforms.training.epochs import batches_from
from transforms.training.hard_negatives import Int32
from transforms.training.inputs import read_columns
from transforms.training.student import Student

Floats = npt.NDArray[np.float64]
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


def spearman(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Return Spearman's correlation of two lists of numbers; 0 if one of them is constant."""
    a, b = (_ranks(np.asarray(each)) for each in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def _ranks(values: npt.NDArray[Any]) -> Floats:
    """Return the ranks of numbers; equal ones share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[places]
    return ranks


class PairBatches:
    """All batches of pairs, at random, of at most so many tokens; they depend on the seed alone."""

    def __init__(self, lengths: Int64, batch_tokens: int, seed: int) -> None:
        """Prepare batches of pairs with these numbers of tokens."""
        self.lengths, self.batch_tokens, self.seed = lengths, batch_tokens, seed

    def epoch(self, number: int) -> list[Int64]:
        """Return the pairs of each batch of one pass over the data; a batch has two or more."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.lengths))
        batch = (np.cumsum(self.lengths[order]) - 1) // self.batch_tokens
        made = np.split(order, np.flatnonzero(np.diff(batch)) + 1)
        return [rows for rows in made if len(rows) > 1] or [order]

    def batches(self, start: int) -> Iterator[Int64]:
        """Return batches without end, from the one numbered ``start`` on."""
        return batches_from(self.epoch, start)


class SimilarityObjective:
    """The loss and the validation of a similarity."""

    def __init__(
        self, student: Student, rows: Sequence[Int32], scores: Floats, batch_tokens: int
    ) -> None:
        """Combine a student with its pairs.

        Args:
            student: the network to train.
            rows: the token ids of all first texts, then of all second texts.
            scores: the scores of the pairs.
            batch_tokens: tokens that the student encodes at once.
        """
        self.student, self.rows, self.batch_tokens = student, rows, batch_tokens
        self.scores = torch.from_numpy(scores)

    def loss(self, pairs: Int64) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the ranking loss of some pairs, and no parts to report."""
        cosines = self._cosines(self.rows, pairs, len(self.scores))
        return ranking_loss(cosines, self.scores[pairs].to(cosines.device)), {}

    def evaluate(self, rows: Sequence[Int32], scores: Floats) -> dict[str, float]:
        """Return Spearman's correlation of the cosines with the scores of validation pairs."""
        found = self._cosines(rows, np.arange(len(scores)), len(scores)).cpu().numpy()
        rho = spearman(found, scores)
        return {"score": rho, "spearman": rho}

    def _cosines(self, rows: Sequence[Int32], pairs: Int64, count: int) -> torch.Tensor:
        texts = [rows[pair] for pair in pairs] + [rows[count + pair] for pair in pairs]
        vectors = embed_all(self.student, texts, self.batch_tokens)
        return (vectors[: len(pairs)] * vectors[len(pairs) :]).sum(1)
