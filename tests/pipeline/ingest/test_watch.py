"""A watched folder on Prism and Flink: new files, replaced ones, poison, a kill in the middle."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.runner import PipelineState

from pipeline.ingest import watch
from pipeline.ingest.options import EmbedOptions, WatchCommandOptions
from pipeline.maintenance import compact
from pipeline.maintenance.options import CompactOptions
from pipeline.maintenance.verify import run as verify
from pipeline.runners import flink
from tests.support.engines import flink_args, prism_args
from tests.support.options import embed_options
from tests.support.stores import add_segment, live_ids
from tests.support.watched import put, some
from transforms import Store
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import AlbeamError, BadInput, Conflict, Damaged
from transforms.models.resolve import find_model
from transforms.storage import input_files
from transforms.storage.filesystem import FileInfo
from transforms.storage.input_files import poll_inputs
from transforms.storage.listing import Listing
from transforms.streaming import watch as streaming
from transforms.streaming.file_intake import WatchOptions
from transforms.streaming.journal import Journal, JournalState
from transforms.streaming.journal_entries import Entry
from transforms.streaming.watch import WatchFiles, _PollFn

ROOT = Path(__file__).resolve().parents[3]
on_engines = pytest.mark.engines


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> EmbedOptions:
    folder, columns = tmp_path / "in", ColumnOptions()
    return embed_options(tmp_path / "store", albert, folder, columns=columns, rows_per_part=20)


def texts_of(store: str) -> dict[str, str]:
    table = pa.concat_tables(Store.open(store).documents(["document_id", "passage", "text"]))
    return {row["document_id"]: row["text"] for row in table.to_pylist() if row["passage"] == 0}


def soon(check: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(parent: int) -> list[int]:
    """The processes that one has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def snapshots(store: str) -> int:
    try:
        return read_snapshot(store).number
    except BadInput:
        return 0


@on_engines
@pytest.mark.parametrize("engine", ["prism", "flink"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_files_come_are_replaced_and_one_is_poison(
    engine: str, options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = prism_args() if engine == "prism" else flink_args(monkeypatch)
    options = EmbedOptions(**{**vars(options), "runner": engine, "beam_args": args})
    folder = tmp_path / "in"
    put(folder, "a.parquet", some(0, 50))

    def produce() -> None:
        soon(lambda: snapshots(options.store) == 1)
        put(folder, "b.parquet", {"doc-0001": "winter music", "new": "a river", "bad": None})
        (folder / "c.parquet").write_bytes(b"poison")
        soon(lambda: snapshots(options.store) == 2)
        # Without what it had: those are gone, but doc-0001 is b's now.
        put(folder, "a.parquet", {"doc-0000": "a stone", "doc-0002": "two"})

    producer = threading.Thread(target=produce)
    producer.start()
    said: list[str] = []
    done = watch.run(WatchCommandOptions(options, every=1.0, until_idle=8.0), said.append)
    producer.join()
    flink.stop_servers()
    assert (done.files, done.entries, list(done.rejected)) == (3, 3, [str(folder / "c.parquet")])
    assert "can't be read as Parquet" in done.rejected[str(folder / "c.parquet")]
    assert texts_of(options.store) == {
        "doc-0000": "a stone",
        "doc-0001": "winter music",
        "doc-0002": "two",
        "new": "a river",
    }
    verify(options.store)
    assert any("in snapshot 2" in line and "c.parquet" in line for line in said)
    # Run again, it finds that all was taken.
    before = snapshots(options.store)
    assert watch.run(WatchCommandOptions(options, every=0.5, until_idle=3.0)).files == 0
    assert snapshots(options.store) == before
    flink.stop_servers()


@on_engines
def test_killed_at_any_moment_a_file_is_in_once(
    options: EmbedOptions, tmp_path: Path, albert: Path
) -> None:
    folder, store = tmp_path / "in", options.store
    expected: dict[str, str | None] = {}
    impatient = (
        "import sys; from pipeline import cli; from pipeline.runners import prism; "
        "prism.IDLE_SECONDS = 3; sys.exit(cli.main())"
    )
    command = [
        *(sys.executable, "-c", impatient, "watch", str(folder), "--store", store),
        *("--model", str(albert), "--max-tokens", "48", "--stride", "8", "--every", "1s"),
        *("--rows-per-part", "10", "--dtype", "float32", "--runner", "prism", *prism_args()),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pieces = Path(store)
    moments: list[Callable[[], bool]] = [
        lambda: any(pieces.glob("watch/*/0*.json")),
        lambda: len(list(pieces.glob("segments/*/vectors/part-*.json"))) >= 8,
        lambda: len(list(pieces.glob("segments/*/segment.json"))) >= 2,
    ]
    left: list[int] = []
    for number, moment in enumerate(moments):
        files = some(number * 1000, 60)
        expected |= files
        put(folder, f"f{number}.parquet", files)
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            soon(moment)
            left += children(process.pid)
        finally:
            process.kill()
            process.wait()
    assert len(left) >= len(moments)
    done = subprocess.run(
        [*command, "--until-idle", "6s", "--json"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["rejected"] == {}
    assert sorted(live_ids(store)) == sorted(expected)
    assert {name: text.startswith(texts_of(store)[name]) for name, text in expected.items()
            if text} == dict.fromkeys(expected, True)  # fmt: skip
    verify(store)
    journal = Journal.of(store, [str(folder)])
    files = [file.url for each in journal.read().entries for file in each.entry.files]
    assert len(files) == len(set(files)) == 3
    soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


@on_engines
def test_small_segments_are_compacted_while_it_runs(options: EmbedOptions, tmp_path: Path) -> None:
    options = EmbedOptions(**{**vars(options), "runner": "prism", "beam_args": prism_args()})
    folder = tmp_path / "in"
    put(folder, "f0.parquet", some(0, 5))

    def produce() -> None:
        for number in range(1, 4):
            soon(lambda number=number: snapshots(options.store) >= number)  # type: ignore[misc]
            put(folder, f"f{number}.parquet", some(number * 100, 5))

    producer = threading.Thread(target=produce)
    producer.start()
    done = watch.run(WatchCommandOptions(options, every=0.5, until_idle=8.0, max_segments=2))
    producer.join()
    assert done.files == 4
    assert done.compactions >= 1
    assert len(read_snapshot(options.store).segments) <= 2
    assert len(live_ids(options.store)) == 20


def test_a_compaction_that_fails_is_reported_and_tried_again_at_twice_as_many_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    tried: list[tuple[int, int]] = []
    lines: list[str] = []

    def fail(store: str, options: CompactOptions) -> None:
        tried.append((len(read_snapshot(store).segments), options.max_segments))
        raise error

    monkeypatch.setattr(compact, "run", fail)
    limit = 2
    error: AlbeamError = Damaged("part-00000 is cut short")
    for number in range(7):
        add_segment(store, f"s{number}", {f"d{number}": 1}, seed=number)
        joined, limit = watch._compact(store, 2, limit, lines.append)
        assert not joined
    assert tried == [(3, 1), (7, 1)]
    assert lines[0] == "the compaction of 3 segments failed: part-00000 is cut short"
    error = Conflict("another writer was faster")
    assert watch._compact(store, 2, 2, lines.append) == (False, 2)
    assert len(lines) == 2


def test_only_a_compaction_that_joins_segments_is_counted(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"a": 1}, seed=1)
    # As if another writer had compacted the store meanwhile.
    assert watch._compact(store, 2, 0, None) == (False, 2)
    add_segment(store, "two", {"b": 1}, seed=2)
    assert watch._compact(store, 2, 1, None) == (True, 2)


def test_a_missing_folder_is_reported_at_once(options: EmbedOptions, tmp_path: Path) -> None:
    missing = str(tmp_path / "incomin")
    options = replace(options, runner="prism", inputs=(missing,))
    with pytest.raises(BadInput) as caught:
        watch.run(WatchCommandOptions(options, every=1.0))
    assert (caught.value.option, caught.value.value) == ("input", missing)
    assert not Path(options.store).exists()


class FakeJob:
    """A job that does nothing until it ends."""

    def __init__(self, state: str) -> None:
        self.state = state


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> FakeJob:
    """The job that ``watch.run`` gets in place of a real one."""
    job = FakeJob(PipelineState.RUNNING)
    monkeypatch.setattr(watch, "new_pipeline", lambda *_, **__: beam.Pipeline("FnApiRunner"))
    monkeypatch.setattr(watch, "run_in_background", lambda _: contextlib.nullcontext(job))
    return job


def test_the_command_polls_as_often_as_it_was_asked_to(
    options: EmbedOptions, running: FakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    calls: list[float] = []

    def listing(*arguments: Any, **more: Any) -> Listing:
        calls.append(time.monotonic())
        return poll_inputs(*arguments, **more)

    monkeypatch.setattr(input_files, "poll_inputs", listing)
    options = replace(options, runner="prism")
    started = time.monotonic()
    done = watch.run(WatchCommandOptions(options, every=2.0, until_idle=5.0))
    # At 0, 2 and 4 seconds, and once more before the end.
    assert len(calls) == 4
    assert 5.0 <= time.monotonic() - started
    assert calls[-1] - calls[0] < 6.0
    assert (done.files, done.entries) == (0, 0)
    calls.clear()
    watch.run(WatchCommandOptions(options, every=60.0, until_idle=1.0))
    assert len(calls) == 2
    assert calls[-1] - calls[0] < 2.0
    running.state = PipelineState.FAILED
    with pytest.raises(AlbeamError) as caught:
        watch.run(WatchCommandOptions(options, every=60.0))
    assert (caught.value.option, caught.value.value) == ("job", PipelineState.FAILED)


def test_entries_that_close_between_two_polls_are_reported_and_put_off_the_end(
    options: EmbedOptions, running: FakeJob, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    journal = Journal.of(options.store, options.inputs)

    def work() -> None:
        for number in (1, 2):
            time.sleep(1.2)
            files = (FileInfo(f"f{number}", 1, "v"), FileInfo("bad", 1, f"v{number}"))
            entry = Entry(number, f"s{number}", 1, files, {"bad": "torn"}, time.time())
            assert journal.add(entry)
            journal.close(entry, number)

    worker = threading.Thread(target=work)
    lines: list[str] = []
    # The store is prepared before the first poll.
    options = replace(options, runner="prism")
    started = time.monotonic()
    worker.start()
    done = watch.run(WatchCommandOptions(options, every=0.5, until_idle=2.0), lines.append)
    worker.join()
    assert time.monotonic() - started >= 2.4 + 2.0
    assert (done.files, done.entries, done.rejected) == (2, 2, {"bad": "torn"})
    assert "in snapshot 1" in lines[0]
    assert "in snapshot 2" in lines[1]


@pytest.fixture
def watched(options: EmbedOptions) -> WatchOptions:
    identity = find_model(options.model).identity
    return WatchOptions(
        options.inputs, options.store, ColumnOptions(), identity, "float32", options.index,
        rate=1000.0, every=1.0, rows_per_part=10,
    )  # fmt: skip


def test_a_file_is_taken_at_the_second_poll_and_one_that_changes_waits(
    watched: WatchOptions, tmp_path: Path
) -> None:
    poll = _PollFn(watched)
    poll.setup()
    put(tmp_path / "in", "a.parquet", some(0, 15))
    assert list(poll.process(None)) == []
    sent = list(poll.process(None))
    assert [part for _, part in sent] == [0, 1]
    watched.journal.close(watched.journal.read().entries[0].entry, 1)
    put(tmp_path / "in", "b.parquet", some(100, 5))
    assert list(poll.process(None)) == []
    put(tmp_path / "in", "b.parquet", some(100, 8))
    assert list(poll.process(None)) == []
    assert [part for _, part in poll.process(None)] == [0]


def test_two_polls_take_files_and_two_more_their_next_versions(
    options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps but the endless source, on the direct runner."""
    monkeypatch.setattr(streaming, "PeriodicImpulse", lambda *_, **__: beam.Create([0, 1]))
    folder = tmp_path / "in"

    def poll() -> JournalState:
        watched, passages, handler = watch.resolve_watch(options, 1.0)
        with beam.Pipeline("FnApiRunner") as pipeline:
            _ = pipeline | WatchFiles(watched, passages, handler)
        return watched.journal.read()

    put(folder, "a.parquet", some(0, 50))
    (folder / "c.parquet").write_bytes(b"poison")
    state = poll()
    assert [each.closing is not None for each in state.entries] == [True]
    assert list(state.entries[0].entry.rejected) == [str(folder / "c.parquet")]
    assert sorted(texts_of(options.store)) == sorted(some(0, 50))
    put(folder, "a.parquet", {"doc-0000": "a stone", "doc-0002": "two"})
    put(folder, "b.parquet", {"doc-0001": "winter music", "bad": None})
    state = poll()
    assert (state.last_number, state.open_entry, state.last_snapshot) == (2, None, 3)
    assert texts_of(options.store) == {
        "doc-0000": "a stone",
        "doc-0001": "winter music",
        "doc-0002": "two",
    }
    verify(options.store)
    assert poll() == state


def test_files_of_an_entry_whose_plan_a_vacuum_took_are_taken_again(
    watched: WatchOptions, tmp_path: Path
) -> None:
    put(tmp_path / "in", "a.parquet", some(0, 15))
    poll = _PollFn(watched)
    poll.setup()
    first = [list(poll.process(None)) for _ in range(2)][1]
    shutil.rmtree(Path(watched.store) / "segments" / first[0][0])
    again = _PollFn(watched)
    again.setup()
    sent = [list(again.process(None)) for _ in range(3)]
    closing = watched.journal.read().entries[0].closing
    assert closing is not None
    assert "its plan is gone" in str(closing.reason)
    [second] = [parts for parts in sent if parts]
    assert [part for _, part in second] == [0, 1]
    assert second[0][0] != first[0][0]
    assert (Path(watched.store) / "segments" / second[0][0] / "plan.json").exists()
