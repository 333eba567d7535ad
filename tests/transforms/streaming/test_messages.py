"""Messages of a stream: versions, files, and the whole way into a store on a real engine."""

import os
import random
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.watch import store_messages
from pipeline.maintenance.verify import run as verify
from pipeline.runners.launch import make_pipeline, pipeline_options, run_in_background
from tests.support.engines import prism_args
from tests.support.models import make_texts
from tests.support.options import embed_options
from tests.support.watched import counted_requests
from transforms import Store
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import newest_snapshot
from transforms.errors import BadInput
from transforms.index.options import IndexOptions
from transforms.ingest.read_parts import read_chunks
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model
from transforms.storage import filesystem
from transforms.storage.filesystem import FileInfo, list_names
from transforms.storage.input_files import list_inputs
from transforms.storage.schema import METRICS
from transforms.streaming.checkpoint_writer import condense
from transforms.streaming.file_intake import WatchOptions, list_new, plan_entry, remove_taken
from transforms.streaming.journal_entries import Entry
from transforms.streaming.messages import (
    LandMessages,
    Message,
    MessageOptions,
    land,
    newest_messages,
)

on_engines = pytest.mark.engines
LANGUAGES = pa.schema([("lang", pa.string()), ("year", pa.int32())])


def options_in(folder: Path, **more: Any) -> MessageOptions:
    return MessageOptions(str(folder / "store"), "words", **more)


def test_of_one_id_the_greatest_version_counts(tmp_path: Path) -> None:
    messages = [
        Message("b", "two", 2, {"lang": "en"}),
        Message("a", "old", 1),
        Message("b", "one", 1),
        Message("a", None, 3, {"year": 2020}),
    ]
    table, rejected = newest_messages(messages, options_in(tmp_path, metadata=LANGUAGES))
    assert table.to_pylist() == [
        {"id": "a", "text": None, "_version": 3, "lang": None, "year": 2020},
        {"id": "b", "text": "two", "_version": 2, "lang": "en", "year": None},
    ]
    assert rejected.num_rows == 0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(None, "text", 1), "id is None"),  # type: ignore[arg-type]
        (Message("a", b"text", 1), "text is b'text'"),  # type: ignore[arg-type]
        (Message("a", "text"), "version is None"),
        (Message("a", "\ud800", 1), "surrogates not allowed"),
        (Message("a", "text", 1, {"size": 3}), "no metadata column 'size'; there are ['lang'"),
        (Message("a", "text", 1, {"year": "now"}), "tried to convert to int32"),
        (Message("a", "text", 1, {"year": 2**40}), "too large"),
    ],
)
def test_a_message_that_can_t_be_taken_is_kept_with_its_reason(
    message: Message, reason: str, tmp_path: Path
) -> None:
    options = options_in(tmp_path, metadata=LANGUAGES)
    assert land([message, Message("good", "text", 1)], options) == (1, 1)
    [row] = pq.read_table(Path(options.folder) / "_rejects").to_pylist()
    assert reason in row["reason"]
    assert '"metadata": ' in row["message"]
    [file] = list_inputs((options.folder,))
    assert pq.read_table(file.url).column("id").to_pylist() == ["good"]


def test_the_same_messages_land_as_one_file(tmp_path: Path) -> None:
    options = options_in(tmp_path)
    messages = [Message(f"d{n}", f"text {n}", n) for n in range(5)]
    land(messages, options)
    land(messages[::-1], options)
    assert len(list_names(options.folder)) == 1


@pytest.mark.parametrize(
    ("more", "option", "value"),
    [
        ({"every": 0.0}, "every", 0.0),
        ({"most": 0}, "most", 0),
        ({"shards": -1}, "shards", -1),
        ({"name": "../up"}, "name", "../up"),
        ({"metadata": pa.schema([("text", pa.string())])}, "metadata column", "text"),
        ({"metadata": pa.schema([("_version", pa.int8())])}, "metadata column", "_version"),
    ],
)
def test_options_that_can_t_work(more: dict[str, Any], option: str, value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        MessageOptions(**{"store": "store", "name": "words"} | more)
    assert (caught.value.option, caught.value.value) == (option, value)


def test_a_plain_list_lands(tmp_path: Path) -> None:
    options = options_in(tmp_path, shards=3, most=4)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create([Message(f"d{n % 10}", f"text {n}", n) for n in range(30)])
            | LandMessages(options)
        )
    rows = _rows(options)
    assert {row["id"] for row in rows} == {f"d{n}" for n in range(10)}
    assert {row["_version"] for row in rows} >= set(range(20, 30))


def test_without_a_version_the_timestamp_counts(tmp_path: Path) -> None:
    options = options_in(tmp_path)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create([(Message("a", "new"), 7.5), (Message("a", "old"), 3.0)])
            | beam.MapTuple(TimestampedValue)
            | LandMessages(options)
        )
    assert {(row["text"], row["_version"]) for row in _rows(options)} >= {("new", 7_500_000)}


def _rows(options: MessageOptions) -> list[dict[str, Any]]:
    return [
        row
        for file in list_inputs((options.folder,))
        for row in pq.read_table(file.url).to_pylist()
    ]


def make_watched(folder: Path, albert: Path) -> WatchOptions:
    messages = options_in(folder)
    identity = find_model(ModelOptions(str(albert), max_tokens=48)).identity
    return WatchOptions(
        (messages.folder,), messages.store, messages.columns, identity, "float32", IndexOptions(),
        rate=1000.0, every=1.0, messages=True,
    )  # fmt: skip


def take(watched: WatchOptions, documents: dict[str, str]) -> None:
    """Take new files into a dict, as a watch takes them into a store."""
    journal = watched.journal
    state = journal.read()
    files = list_new(watched, state)
    if not files:
        return
    entry = plan_entry(watched, state, files, time.time())
    assert entry.rejected == {}
    assert journal.add(entry)
    plan = journal.paths(entry).read_plan() if entry.parts else None
    for part in plan.parts if plan is not None else ():
        for table in read_chunks(plan, part):
            documents.update(zip(*(table.column(n).to_pylist() for n in range(2)), strict=True))
    versions = journal.read_versions(entry.segment)
    for name, _, deleted in zip(*(c.to_pylist() for c in versions.columns), strict=True):
        if deleted:
            documents.pop(name, None)
    journal.close(entry)
    remove_taken(watched)


_BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6), st.booleans()), max_size=6),
    max_size=6,
)


def test_a_batch_reads_as_little_after_many_batches_as_after_few(
    tmp_path: Path, albert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    options, watched = options_in(tmp_path), make_watched(tmp_path, albert)
    journal = watched.journal

    def age(first: int, last: int) -> None:
        for number in range(first, last + 1):
            condense(journal.read())
            entry = Entry(number, f"s{number}", 0, (FileInfo(f"f{number}", 1, "v"),), {}, 0.0)
            journal.write_versions(entry.segment, {"a": (number, False)})
            assert journal.add(entry)
            journal.close(entry, number)

    def requests(version: int) -> int:
        land([Message("a", "text", version)], options)
        with counted_requests() as found:
            state = journal.read()
            files = list_new(watched, state)
            entry = plan_entry(watched, state, files, time.time())
        # Only a version above the last entry's is new.
        assert entry.parts == (version > state.last_number)
        filesystem.remove(files[0].url)
        return found.total()

    age(1, 10)
    early = [requests(10), requests(11)]
    age(11, 200)
    late = [requests(200), requests(201)]
    assert late[0] <= early[0]
    assert late[1] <= early[1]


@settings(max_examples=25, deadline=None)
@given(batches=_BATCHES, again=st.lists(st.integers(0, 5)), seed=st.integers(0, 9))
def test_however_messages_are_cut_repeated_and_disordered_the_newest_counts(
    batches: list[list[tuple[str, int, bool]]],
    again: list[int],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    albert: Path,
) -> None:
    folder = tmp_path_factory.mktemp("stream")
    options = options_in(folder)
    watched = make_watched(folder, albert)
    # A version says one thing of a document, however often it says it.
    said = {(name, version): gone for batch in batches for name, version, gone in batch}
    messages = [
        [
            Message(name, None if said[name, version] else f"{name} {version}", version)
            for name, version, _ in batch
        ]
        for batch in batches
    ]
    expected: dict[str, str] = {}
    for name, version in sorted(said):
        expected.pop(name, None)
        if not said[name, version]:
            expected[name] = f"{name} {version}"
    replayed = messages + [messages[number] for number in again if number < len(messages)]
    draw = random.Random(seed)
    documents: dict[str, str] = {}
    for batch in replayed:
        land(batch, options)
        if draw.random() < 0.6:
            take(watched, documents)
    take(watched, documents)
    assert documents == expected
    remove_taken(watched)
    assert list_names(options.folder) == []


def metrics_of(job: Any) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """albeam's counters, gauges, and the greatest values of its distributions, when a bundle or
    two have ended."""
    time.sleep(2)
    found = job.metrics().query(MetricsFilter().with_namespace(METRICS))
    return (
        {each.key.metric.name: each.committed for each in found["counters"]},
        {each.key.metric.name: each.committed.value for each in found["gauges"]},
        {each.key.metric.name: each.committed.max for each in found["distributions"]},
    )


@on_engines
def test_a_stream_on_prism_late_double_and_disordered(tmp_path: Path, albert: Path) -> None:
    messages = options_in(tmp_path, metadata=LANGUAGES, every=1.0)
    options = embed_options("", albert, columns=ColumnOptions())
    texts = make_texts(30)
    first = [
        TimestampedValue(Message(f"d{n}", text, metadata={"lang": "en"}), 100 + n)
        for n, text in enumerate(texts)
    ]
    stream = (
        test_stream.TestStream(coder=beam.coders.PickleCoder())
        .advance_watermark_to(0)
        .add_elements(first[::-1])
        .advance_watermark_to(1_000)
        # Late, and twice.
        .add_elements([TimestampedValue(Message("d0", "too old"), 5), first[1], first[1]])
        .advance_processing_time(5)
        .add_elements([TimestampedValue(Message("d2", None), 2_000)])
        .add_elements([TimestampedValue(Message("d3", "winter", metadata={"year": "x"}), 2_001)])
        .add_elements([TimestampedValue(Message("d4", "a river", metadata={"year": 7}), 2_002)])
        .advance_processing_time(5)
        # Late again, after its document was taken away.
        .add_elements([TimestampedValue(Message("d2", "is gone"), 1_999)])
        .advance_processing_time(5)
        .advance_watermark_to_infinity()
    )
    pipeline = make_pipeline("prism", pipeline_options("prism", prism_args(), streaming=True))
    _ = pipeline | stream | "Store" >> store_messages(options, messages)

    def texts_now() -> dict[str, str]:
        newest = newest_snapshot(messages.store)
        if newest is None:
            return {}
        table = pa.concat_tables(Store.open(messages.store).documents(["document_id", "text"]))
        return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))

    with run_in_background(pipeline) as job:
        deadline = time.monotonic() + 90
        while not (texts_now().get("d4") == "a river" and "d2" not in texts_now()):
            assert time.monotonic() < deadline, (job.state, sorted(texts_now()))
            time.sleep(0.5)
        count, gauge, distribution = metrics_of(job)
    assert count["messages"] >= 30
    assert count["messages_rejected"] == 1
    assert count["documents"] >= 29
    assert count["entries"] >= 1
    assert {"lag_seconds", "files_waiting", "parts_waiting"} <= set(gauge)
    assert 0 <= gauge["lag_seconds"] <= 90
    assert 0 <= distribution["freshness_seconds"] <= 90
    assert sorted(texts_now()) == sorted(f"d{n}" for n in range(30) if n != 2)
    assert texts_now()["d0"] != "too old"
    assert len(pq.read_table(Path(messages.folder) / "_rejects")) == 1
    verify(messages.store)
