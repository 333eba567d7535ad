"""Prism and Flink predict and label as the direct runner does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.ingest.embed import run as embed
from pipeline.runners import flink
from pipeline.tasks.options import PredictOptions
from pipeline.tasks.predict import run as predict
from tests.end_to_end.test_embed import assert_same_store
from tests.pipeline.ingest.test_labels import labelling, labels_of, made
from tests.support.engines import flink_args, prism_args
from tests.support.options import EXACT

__all__ = ["made"]
pytestmark = [
    pytest.mark.engines,
    # A worker thread that Flink has let go of says so by an exception.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _no_job_server_stays() -> Iterator[None]:
    yield
    flink.stop_servers()


def engine_args(engine: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    if engine == "prism":
        return prism_args()
    return (*flink_args(monkeypatch), "--flink-master=[local]")


@pytest.mark.parametrize("engine", ["prism", "flink"])
@pytest.mark.parametrize("source", ["input", "store"])
def test_predictions_are_those_of_the_direct_runner(
    engine: str,
    source: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    direct = PredictOptions(
        str(made / "topics"),
        (str(made / "input.parquet"),) if source == "input" else (),
        store=str(made / "store") if source == "store" else None,
        output=str(tmp_path / "direct"),
        stride=8,
        placement=EXACT,
        rows_per_part=20,
    )
    args = engine_args(engine, monkeypatch)
    other = replace(direct, output=str(tmp_path / "other"), runner=engine, beam_args=args)
    one, two = predict(direct), predict(other)
    assert (two.documents, two.parts, two.labels) == (60, one.parts, one.labels)
    assert pq.read_table(tmp_path / "other").equals(pq.read_table(tmp_path / "direct"))
    assert predict(other).parts_found_done == two.parts


@pytest.mark.parametrize("engine", ["prism", "flink"])
def test_labels_while_embedding_are_those_of_the_direct_runner(
    engine: str,
    made: Path,
    albert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = labelling(made, tmp_path / "store", albert)
    embed(options)
    args = engine_args(engine, monkeypatch)
    other = replace(options, store=str(tmp_path / "other"), runner=engine, beam_args=args)
    assert embed(other).parts == 3
    assert_same_store(options.store, other.store)
    assert labels_of(other.store) == labels_of(options.store)
    # Labels of another head, with the vectors that are there.
    swapped = replace(other, classify=str(made / "swapped"))
    assert embed(swapped).metadata == 60
    assert labels_of(other.store) != labels_of(options.store)
