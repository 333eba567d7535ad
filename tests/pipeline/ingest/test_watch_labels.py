"""``albeam watch --classify``: each new file's documents have labels, also those of messages."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue

from pipeline.ingest import watch
from pipeline.ingest.options import EmbedOptions, WatchCommandOptions
from pipeline.maintenance.verify import run as verify
from pipeline.runners import flink
from pipeline.runners.launch import make_pipeline, pipeline_options, run_in_background
from tests.pipeline.ingest.test_labels import labels_of, made, predicted
from tests.pipeline.ingest.test_watch import snapshots, soon
from tests.support.engines import flink_args, prism_args
from tests.support.options import embed_options
from tests.support.raising import raises
from tests.support.watched import put
from transforms import Store
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.streaming import watch as streaming
from transforms.streaming.journal import JournalState
from transforms.streaming.messages import Message, MessageOptions
from transforms.streaming.watch import WatchFiles, _PollFn

__all__ = ["made"]
on_engines = pytest.mark.engines
#: The third document has several passages.
FIRST: dict[str, str | None] = {"a": "river ocean", "b": "letter paper", "c": "paper letter " * 60}


@pytest.fixture
def options(made: Path, tmp_path: Path, albert: Path) -> EmbedOptions:
    return embed_options(
        tmp_path / "store", albert, tmp_path / "in", columns=ColumnOptions(), rows_per_part=2,
        classify=str(made / "topics"), label_column="topic",
    )  # fmt: skip


def drained(options: EmbedOptions, monkeypatch: pytest.MonkeyPatch) -> JournalState:
    """Run all steps but the endless source, on the direct runner; return the journal."""
    monkeypatch.setattr(streaming, "PeriodicImpulse", lambda *_, **__: beam.Create([0, 1, 2]))
    watched, passages, embedding = watch.resolve_watch(options, 1.0)
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | WatchFiles(watched, passages, embedding)
    return watched.journal.read()


def test_documents_of_files_have_labels(
    made: Path,
    options: EmbedOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(tmp_path / "in", "a.parquet", FIRST)
    pq.write_table(
        pa.table({"id": ["x"], "text": ["y"], "topic": ["z"]}), tmp_path / "in" / "b.parquet"
    )
    state = drained(options, monkeypatch)
    [entry] = [each.entry for each in state.entries]
    assert "is a column of" in entry.rejected[str(tmp_path / "in" / "b.parquet")]
    assert labels_of(options.store) == {"a": "water", "b": "words", "c": "words"}
    assert labels_of(options.store) == predicted(options.store, made / "topics", tmp_path / "out")
    [hits] = Store.open(options.store).search(["river"], where="topic = 'water'")
    assert [hit.document_id for hit in hits] == ["a"]
    put(tmp_path / "in", "c.parquet", {"a": "letter paper", "bad": None})
    drained(options, monkeypatch)
    assert labels_of(options.store) == {"a": "words", "b": "words", "c": "words"}
    verify(options.store)


def test_an_open_entry_of_another_head_is_given_up_and_its_files_are_taken_again(
    made: Path,
    options: EmbedOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(tmp_path / "in", "a.parquet", FIRST)
    killed = _PollFn(watch.resolve_watch(options, 1.0)[0])
    killed.setup()
    assert [len(list(killed.process(None))) for _ in range(2)] == [0, 2]
    other = replace(options, classify=str(made / "swapped"), label_column="kind")
    state = drained(other, monkeypatch)
    reasons = [each.closing.reason for each in state.entries if each.closing is not None]
    assert reasons == ["its head is another; its files are taken again", ""]
    assert labels_of(options.store, "kind") == {"a": "words", "b": "water", "c": "water"}
    verify(options.store)


def test_a_store_whose_column_has_another_type_is_refused_at_the_start(
    made: Path,
    options: EmbedOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(tmp_path / "in", "a.parquet", FIRST)
    drained(replace(options, classify=str(made / "numbers")), monkeypatch)
    with raises(BadInput, "as", "topic"):
        watch.resolve_watch(options, 1.0)


@on_engines
@pytest.mark.parametrize("engine", ["prism", "flink"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_files_that_come_are_labelled(
    engine: str,
    made: Path,
    options: EmbedOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    args = prism_args() if engine == "prism" else flink_args(monkeypatch)
    options = replace(options, runner=engine, beam_args=args)
    put(tmp_path / "in", "a.parquet", FIRST)

    def produce() -> None:
        soon(lambda: snapshots(options.store) == 1)
        put(tmp_path / "in", "b.parquet", {"a": "letter paper", "new": "river ocean"})

    producer = threading.Thread(target=produce)
    producer.start()
    done = watch.run(WatchCommandOptions(options, every=1.0, until_idle=8.0))
    producer.join()
    flink.stop_servers()
    assert (done.files, done.entries) == (2, 2)
    found = labels_of(options.store)
    assert found == {"a": "words", "b": "words", "c": "words", "new": "water"}
    assert found == predicted(options.store, made / "topics", tmp_path / "out")
    verify(options.store)


@on_engines
def test_messages_are_labelled(options: EmbedOptions, tmp_path: Path) -> None:
    years = pa.schema([("year", pa.int32())])
    messages = MessageOptions(str(tmp_path / "store"), "words", years, every=1.0)
    sent: list[Any] = [
        TimestampedValue(Message(name, text, metadata={"year": 1}), 100)
        for name, text in FIRST.items()
    ]
    stream = (
        test_stream.TestStream(coder=beam.coders.PickleCoder())
        .advance_watermark_to(0)
        .add_elements(sent)
        .advance_processing_time(5)
        .add_elements([TimestampedValue(Message("b", "river ocean"), 200)])
        .add_elements([TimestampedValue(Message("c", None), 201)])
        .advance_processing_time(5)
        .advance_watermark_to_infinity()
    )
    pipeline = make_pipeline("prism", pipeline_options("prism", prism_args(), streaming=True))
    _ = pipeline | stream | "Store" >> watch.store_messages(options, messages)

    def labels() -> dict[str, Any]:
        return labels_of(messages.store) if snapshots(messages.store) else {}

    with run_in_background(pipeline):
        deadline = time.monotonic() + 90
        while labels() != {"a": "water", "b": "water"}:
            assert time.monotonic() < deadline, labels()
            time.sleep(0.5)
    table = pa.concat_tables(Store.open(messages.store).documents(["document_id", "year"]))
    assert {row["document_id"]: row["year"] for row in table.to_pylist()} == {"a": 1, "b": None}
    verify(messages.store)


def test_messages_that_have_the_column_are_refused(options: EmbedOptions, tmp_path: Path) -> None:
    topics = pa.schema([("topic", pa.string())])
    messages = MessageOptions(str(tmp_path / "store"), "words", topics)
    with raises(BadInput, "as", "topic"):
        watch.store_messages(options, messages)
