"""A watched folder on Prism and Flink: new files, replaced ones, poison, a kill in the middle."""

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

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest import watch
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import compact
from pipeline.maintenance.verify import run as verify
from pipeline.runners import flink
from tests.support.engines import flink_args, prism_args
from tests.support.models import make_texts
from tests.support.stores import add_segment, live_ids
from transforms import Store
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import AlbeamError, BadInput, Conflict, Damaged
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.storage.filesystem import FileInfo
from transforms.storage.input_files import list_inputs
from transforms.streaming.file_intake import WatchOptions, list_new, plan_entry, replaced_ids
from transforms.streaming.journal import Entry, Ledger
from transforms.streaming.watch import _LookFn

ROOT = Path(__file__).resolve().parents[3]
on_engines = pytest.mark.engines


def put(folder: Path, name: str, documents: dict[str, str | None]) -> Path:
    """Write a file as a careful producer does: under another name first."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {"id": list(documents), "text": pa.array(list(documents.values()), pa.string())}
    )
    pq.write_table(table, folder / f"_{name}", row_group_size=10)
    return (folder / f"_{name}").rename(folder / name)


def some(first: int, count: int) -> dict[str, str | None]:
    texts = make_texts(count, seed=first)
    return {f"doc-{first + number:04d}": text for number, text in enumerate(texts)}


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> EmbedOptions:
    return EmbedOptions(
        inputs=(str(tmp_path / "in"),),
        store=str(tmp_path / "store"),
        model=ModelOptions(str(albert), max_tokens=48),
        stride=8,
        placement=Placement("cpu", "float32"),
        rows_per_part=20,
    )


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
    done = watch.run(options, every=1.0, until_idle=8.0, tell=said.append)
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
    assert watch.run(options, every=0.5, until_idle=3.0).files == 0
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
    ledger = Ledger.of(store, [str(folder)])
    files = [file.url for entry in ledger.entries() for file in entry.files]
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
    done = watch.run(options, every=0.5, until_idle=8.0, max_segments=2)
    producer.join()
    assert done.files == 4
    assert done.compactions >= 1
    assert len(read_snapshot(options.store).segments) <= 2
    assert len(live_ids(options.store)) == 20


def test_a_compaction_that_fails_is_told_and_tried_again_at_twice_as_many_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    tried: list[tuple[int, int]] = []
    told: list[str] = []

    def fail(store: str, most: int) -> None:
        tried.append((len(read_snapshot(store).segments), most))
        raise error

    monkeypatch.setattr(compact, "run", fail)
    limit = 2
    error: AlbeamError = Damaged("part-00000 is cut short")
    for number in range(7):
        add_segment(store, f"s{number}", {f"d{number}": 1}, seed=number)
        joined, limit = watch._compact(store, 2, limit, told.append)
        assert not joined
    assert tried == [(3, 1), (7, 1)]
    assert told[0] == "3 segments are left as they are: part-00000 is cut short"
    error = Conflict("another writer was faster")
    assert watch._compact(store, 2, 2, told.append) == (False, 2)
    assert len(told) == 2
    monkeypatch.setattr(compact, "run", lambda *_: None)
    assert watch._compact(store, 2, 6, None) == (True, 2)


def test_ids_of_earlier_files_are_read_only_for_one_that_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.of(str(tmp_path / "store"), [str(tmp_path / "in")])

    def entry(number: int, *names: str) -> Entry:
        files = tuple(FileInfo(name, 10, f"v{number}") for name in names)
        made = Entry(number, f"s{number}", 1, files, {}, 0.0)
        assert ledger.add(made)
        return made

    ledger.write_ids("s0", {"a": ["1", "2"], "b": ["3"]})
    ledger.close(entry(0, "a", "b"), 1)
    ledger.write_ids("s1", {"c": ["4"]})
    other = entry(1, "c")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "read_ids", lambda *_: pytest.fail("ids were read"))
        assert replaced_ids(ledger, other) == set()
    ledger.close(other, 2)
    ledger.write_ids("s2", {"a": ["2"]})
    again = entry(2, "a")
    assert replaced_ids(ledger, again) == {"1"}
    ledger.close(again, 3)
    # One that has no rows now, and one that can't be read.
    ledger.write_ids("s3", {})
    empty = entry(3, "b")
    assert replaced_ids(ledger, empty) == {"3"}
    assert replaced_ids(ledger, replace(empty, rejected={"b": "torn"})) == set()


def test_the_direct_runner_can_t_watch(options: EmbedOptions) -> None:
    with pytest.raises(BadInput, match="give --runner prism or flink"):
        watch.run(options, every=1.0)


def test_a_folder_that_is_not_there_is_said_at_once(options: EmbedOptions, tmp_path: Path) -> None:
    missing = str(tmp_path / "incomin")
    options = EmbedOptions(**{**vars(options), "runner": "prism", "inputs": (missing,)})
    with pytest.raises(BadInput, match=r"incomin' is not there; make the folder"):
        watch.run(options, every=1.0)
    assert not Path(options.store).exists()


@pytest.fixture
def watched(options: EmbedOptions) -> WatchOptions:
    identity = find_model(options.model).identity
    return WatchOptions(
        options.inputs, options.store, ColumnOptions(), identity, "float32", options.index,
        rate=1000.0, every=1.0, rows_per_part=10,
    )  # fmt: skip


def test_of_rows_with_one_id_the_last_counts(watched: WatchOptions, tmp_path: Path) -> None:
    put(tmp_path / "in", "a.parquet", {"x": "one", "y": "one"})
    put(tmp_path / "in", "b.parquet", {"y": "two", "z": "two"})
    entry = plan_entry(watched, list_inputs(watched.inputs), 1, 0.0)
    plan = watched.ledger.paths(entry).read_plan()
    assert plan is not None
    assert plan.rows == 3
    ids = watched.ledger.read_ids(entry.segment)
    assert {Path(url).name: names for url, names in ids.items()} == {
        "a.parquet": ["x"],
        "b.parquet": ["y", "z"],
    }


def test_files_that_do_not_fit_are_rejected_and_the_others_taken(
    watched: WatchOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    put(folder, "a.parquet", some(0, 3))
    pq.write_table(pa.table({"other": [1]}), folder / "b.parquet")
    whole = put(folder, "c.parquet", some(10, 30))
    content = bytearray(whole.read_bytes())
    content[60:200] = bytes(140)
    whole.write_bytes(content)
    entry = plan_entry(watched, list_inputs(watched.inputs), 1, 0.0)
    assert {Path(url).name for url in entry.rejected} == {"b.parquet", "c.parquet"}
    assert "has no id column 'id'" in entry.rejected[str(folder / "b.parquet")]
    assert entry.parts == 1


def test_a_file_goes_to_work_at_the_second_look_and_one_that_changes_waits(
    watched: WatchOptions, tmp_path: Path
) -> None:
    look = _LookFn(watched)
    look.setup()
    put(tmp_path / "in", "a.parquet", some(0, 15))
    assert list(look.process(None)) == []
    sent = list(look.process(None))
    assert [part for _, part in sent] == [0, 1]
    watched.ledger.close(watched.ledger.entries()[0], 1)
    put(tmp_path / "in", "b.parquet", some(100, 5))
    assert list(look.process(None)) == []
    put(tmp_path / "in", "b.parquet", some(100, 8))
    assert list(look.process(None)) == []
    assert [part for _, part in look.process(None)] == [0]


def test_files_of_an_entry_whose_plan_a_vacuum_took_are_taken_again(
    watched: WatchOptions, tmp_path: Path
) -> None:
    put(tmp_path / "in", "a.parquet", some(0, 15))
    look = _LookFn(watched)
    look.setup()
    first = [list(look.process(None)) for _ in range(2)][1]
    shutil.rmtree(Path(watched.store) / "segments" / first[0][0])
    again = _LookFn(watched)
    again.setup()
    sent = [list(again.process(None)) for _ in range(3)]
    closing = watched.ledger.closing(1)
    assert closing is not None
    assert "its plan is gone" in str(closing.reason)
    [second] = [parts for parts in sent if parts]
    assert [part for _, part in second] == [0, 1]
    assert second[0][0] != first[0][0]
    assert (Path(watched.store) / "segments" / second[0][0] / "plan.json").exists()


def test_an_entry_is_added_once_and_closed_once(tmp_path: Path) -> None:
    ledger = Ledger.of(str(tmp_path), ["in"])
    entry = Entry(1, "segment", 2, (FileInfo("a", 1, "v"),), {"b": "why"}, time.time())
    other = Entry(1, "another", 2, (), {}, time.time())
    assert ledger.add(entry)
    assert not ledger.add(other)
    assert ledger.entries() == [entry]
    assert ledger.open_entry() == entry
    ledger.close(entry, 7)
    assert ledger.close(entry, 8).snapshot == 7
    assert ledger.open_entry() is None


def test_what_the_ledger_has_is_not_new(watched: WatchOptions, tmp_path: Path) -> None:
    assert list_new(watched, set()) == []
    put(tmp_path / "in", "a.parquet", some(0, 3))
    [file] = list_new(watched, set())
    assert list_new(watched, {file}) == []
    put(tmp_path / "in", "a.parquet", some(0, 4))
    assert [each.url for each in list_new(watched, {file})] == [file.url]


def test_an_empty_input_hides_no_other(watched: WatchOptions, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "in", "a.parquet", some(0, 3))
    both = replace(watched, inputs=(str(tmp_path / "empty"), *watched.inputs))
    assert [Path(file.url).name for file in list_new(both, set())] == ["a.parquet"]
    unknown = replace(watched, inputs=("nothing://of/that/kind", *watched.inputs))
    with pytest.raises(BadInput, match="nothing"):
        list_new(unknown, set())


def test_an_entry_that_was_given_up_keeps_no_file_but_those_rejected(tmp_path: Path) -> None:
    ledger = Ledger.of(str(tmp_path), ["in"])
    good, bad = FileInfo("good", 1, "v"), FileInfo("bad", 1, "v")
    entry = Entry(1, "segment", 1, (good, bad), {"bad": "why"}, 0.0)
    assert ledger.add(entry)
    assert ledger.taken() == {good, bad}
    ledger.close(entry, reason="good was changed while it was read")
    assert ledger.taken() == {bad}
    assert ledger.taken_entries() == []
