"""The quality of a system: which passages and questions are drawn, and how they are ranked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.bench.options import BenchOptions, Effort, SampleOptions
from pipeline.bench.quality import Vectors, ndcg, take_sample
from pipeline.bench.report import print_bench
from pipeline.bench.run import run
from pipeline.bench.systems.albeam import AlbeamInt8
from pipeline.bench.systems.system import Setup
from pipeline.cli import main
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.runtime.devices import supports_int8

PLACES = ("river", "stone", "music", "paper", "garden", "winter", "market", "engine")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A passage about each place, and two questions about each of the first six."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "squad_dev").mkdir()
    passages = [
        {"id": f"p{n}", "text": f"{word} {word} by the sea"} for n, word in enumerate(PLACES)
    ]
    asked = [
        {"question_id": f"{n}{turn}", "question": f"{turn} {PLACES[n]}", "relevant": [f"p{n}"]}
        for n in range(6)
        for turn in ("which", "where")
    ]
    for name, rows in (("passages", passages), ("questions", asked)):
        pq.write_table(pa.Table.from_pylist(rows), folder / "squad_dev" / f"{name}.parquet")
    return folder


def count_words(texts: Sequence[str]) -> Vectors:
    """Return a vector for each text that is exact: how often each place stands in it."""
    return np.array([[text.split().count(word) for word in PLACES] for text in texts], np.float32)


def test_answers_are_among_the_passages_and_draws_repeat(data: Path) -> None:
    sample = take_sample(data, SampleOptions(3, 5))
    again = take_sample(data, SampleOptions(3, 5))
    assert sample == again
    assert sample.facts() == {"passages": 5, "questions": 3}
    assert {name for one in sample.questions for name in one.relevant} <= set(sample.ids)
    assert take_sample(data, SampleOptions(3, 5), seed=1).questions != sample.questions
    # Never fewer passages than answer the questions.
    assert take_sample(data, SampleOptions(12, 1)).facts() == {"passages": 6, "questions": 12}
    assert take_sample(data, SampleOptions(100)).facts() == {"passages": 8, "questions": 12}


def test_the_figure_is_that_of_the_vectors(data: Path, albert: Path) -> None:
    identity = find_model(ModelOptions(str(albert))).identity
    sample = take_sample(data, SampleOptions(12))
    assert ndcg(sample, identity, count_words) == 1
    assert ndcg(sample, identity, lambda _: None) is None
    # The answer is second: 1 / log2(3).
    moved = replace(sample, ids=[sample.ids[place - 1] for place in range(8)])
    later = ndcg(
        moved, identity, lambda texts: count_words(texts) + 2 * np.roll(count_words(texts), 1, 1)
    )
    assert later is not None
    assert 0 < later < 1


def test_the_models_prompts_are_set_before_the_texts(data: Path, albert: Path) -> None:
    identity = find_model(ModelOptions(str(albert))).identity
    identity = replace(identity, passage_prompt="passage: ", query_prompt="query: ")
    seen: list[str] = []

    def embed(texts: Sequence[str]) -> Vectors:
        seen.extend(texts)
        return count_words(texts)

    ndcg(take_sample(data, SampleOptions(2, 3)), identity, embed)
    assert [text.split()[0] for text in seen] == ["passage:"] * 3 + ["query:"] * 2


def test_each_system_gets_a_figure_for_weights_that_are_trained(
    data: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    effort = Effort(rounds=1, seconds=0.1, fewest=4, most=4, embedded=0.1, batch_sizes=(4,))
    given: dict[str, Any] = {"effort": effort, "data": data, "memory": None, "store": None}
    shapes = ("tiny", "albert-base")
    options = BenchOptions(
        pairs=tuple((shape, "skewed") for shape in shapes),
        systems=("albeam-float32", "albeam-int8", "linear-peak"),
        sample=SampleOptions(6, 7),
        folders=dict.fromkeys(shapes, str(albert)),
        **given,
    )
    report = run(options)
    assert report["sample"] == {"passages": 7, "questions": 6}
    rows = {(row["shape"], row["system"]): row for row in report["rows"]}
    assert len(rows) == 8
    wanted = {"albeam", "albeam-float32"} | ({"albeam-int8"} if supports_int8() else set())
    for (shape, system), row in rows.items():
        measured = shape == "tiny" and system in wanted
        assert (row["ndcg_at_10"] is not None) == measured, (shape, system)
        assert not measured or 0 < row["ndcg_at_10"] <= 1
    print_bench(report)
    assert f"{rows['tiny', 'albeam']['ndcg_at_10']:.4f}" in capsys.readouterr().out


def test_int8_says_why_it_is_left_out(
    albert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = find_model(ModelOptions(str(albert)))
    assert AlbeamInt8(Setup(model, Placement("cuda"), tmp_path)).lacking() == "int8 is for CPUs"
    monkeypatch.setattr("pipeline.bench.systems.albeam.supports_int8", lambda: False)
    reason = AlbeamInt8(Setup(model, Placement("cpu"), tmp_path)).lacking()
    assert reason is not None
    assert "no units for int8" in reason


def test_what_ranks_nothing_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with raises(BadInput, "questions", 0):
        SampleOptions(0)
    with raises(BadInput, "passages", 0):
        SampleOptions(1, 0)
    with raises(BadInput, "data", str(tmp_path)):
        take_sample(tmp_path, SampleOptions(1))
    assert main(["bench", "--passages", "5"]) == 2
    assert "--passages 5: is of use with questions alone" in capsys.readouterr().err
