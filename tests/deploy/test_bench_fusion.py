"""The benchmark of hybrid weights: its samples, and the targets that it names as missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.bench.fusion import Sample, Weighed, draw, misses
from pipeline.evaluation.tune_weight import WEIGHTS
from transforms.search.options import DEFAULT_WEIGHT


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Forty passages, of which every second one has a question."""
    names = [f"p{place}" for place in range(40)]
    texts = [f"the passage {name}" for name in names]
    rows = [
        {"question_id": f"q{name}", "question": f"where is {name}", "relevant": [name]}
        for name in names[::2]
    ]
    pq.write_table(pa.table({"id": names, "text": texts}), tmp_path / "passages.parquet")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "questions.parquet")
    return tmp_path


def drawn(corpus: Path, sample: Sample) -> tuple[list[dict], list[dict]]:
    draw(corpus, corpus / "sample", sample)
    return (
        pq.read_table(corpus / "sample/passages.parquet").to_pylist(),
        pq.read_table(corpus / "sample/questions.parquet").to_pylist(),
    )


def test_a_sample_has_the_passages_of_its_questions_and_others(corpus: Path) -> None:
    passages, asked = drawn(corpus, Sample(10, None, 6))
    names = {row["id"] for row in passages}
    assert len(passages) == 10
    assert len(asked) == 8
    assert {name for row in asked for name in row["relevant"]} < names
    assert {row["text"] for row in passages} == {"the pa"}
    assert drawn(corpus, Sample(10, None, 6)) == (passages, asked)


def test_without_numbers_a_sample_is_all(corpus: Path) -> None:
    passages, asked = drawn(corpus, Sample())
    assert (len(passages), len(asked)) == (40, 20)
    assert len(drawn(corpus, Sample(questions=5))[1]) == 5


def figures(words: float, vectors: float, default: float, best: float) -> Weighed:
    """Return figures whose best weight is not the default."""
    place = int(np.abs(WEIGHTS - DEFAULT_WEIGHT).argmin())
    curve = np.full(len(WEIGHTS), min(words, vectors))
    curve[0], curve[-1], curve[place], curve[5] = words, vectors, default, best
    return Weighed("c", "m", 10, 10, 0.1, 0.5, tuple(curve.tolist()))


def test_the_default_weight_is_one_that_is_tried() -> None:
    assert DEFAULT_WEIGHT in WEIGHTS
    assert figures(0.5, 0.6, 0.7, 0.71).default == 0.7


@pytest.mark.parametrize(
    ("halves", "default", "best", "said"),
    [
        ((0.5, 0.6), 0.700, 0.702, []),
        ((0.5, 0.6), 0.700, 0.705, ["below the best weight"]),
        ((0.6, 0.5), 0.590, 0.592, ["below the better half", "the mean"]),
        ((0.5, 0.6), 0.602, 0.602, ["the mean"]),
    ],
)
def test_missed_targets_are_named(
    halves: tuple[float, float], default: float, best: float, said: list[str]
) -> None:
    lines = misses([figures(*halves, default, best)])
    # The better half may also be the best weight.
    lines = [line for line in lines if "best weight" not in line or best > max(halves)]
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))
