"""The tools of the model's recipe: sums of models, and search among held-out passages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.model.held_out import pool_of, reciprocal_ranks
from deploy.model.soup import soup
from pipeline.training.distill import distill
from pipeline.training.options import DistillOptions
from tests.support.training import SHAPE
from transforms.errors import BadInput
from transforms.training.pairs import Pairs


def test_a_soup_of_unrelated_models_is_refused(distilled: DistillOptions, tmp_path: Path) -> None:
    other = replace(
        distilled,
        output=tmp_path / "other",
        work=tmp_path / "other.work",
        shape=replace(SHAPE, embedding=8),
    )
    distill(other)
    with pytest.raises(BadInput) as caught:
        soup(distilled.output, [(1.0, other.output, distilled.output)], tmp_path / "s", 48)
    assert (caught.value.option, caught.value.value) == ("change", str(other.output))
    assert "has other shapes" in caught.value.problem


def test_a_pool_has_the_held_out_passages_and_their_questions() -> None:
    pairs = Pairs("p", list("abcdefgh"), ["w", "x", "y", "z"], [[0], [5], [2, 5], [7]])
    pool, asked = pool_of(pairs, {2, 5}, 3)
    assert asked == [1, 2]
    assert {2, 5} <= set(pool)
    assert 3 <= len(pool) <= 5
    assert pool == sorted(set(pool))


class LetterCounts:
    """An encoder whose vectors count the letters of a text."""

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.asarray([[text.count(one) for one in "abcd"] for text in texts], np.float32)


def test_reciprocal_ranks_are_those_of_the_best_answer() -> None:
    pairs = Pairs("p", ["aab", "ab", "cd", "ddd"], ["a", "d", "c"], [[1], [2, 3], [0]])
    pool = [0, 1, 2, 3]
    # "a": aab 2, ab 1; "d": ddd first; "c": cd first, and the two others tie with the answer
    encoder = LetterCounts()
    assert reciprocal_ranks(encoder, pairs, pool, [0]) == 0.5  # type: ignore[arg-type]
    assert reciprocal_ranks(encoder, pairs, pool, [1]) == 1.0  # type: ignore[arg-type]
    assert reciprocal_ranks(encoder, pairs, pool, [2]) == 0.25  # type: ignore[arg-type]
