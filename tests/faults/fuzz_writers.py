"""Unfinished work in stores with random changes: plans, changes, journals, leases and marks.

Run as ``python -m tests.faults.fuzz_writers [--seed N] [--count N] [--only N]``. A run that resumes
what it finds, a watch, a compaction, a delete and a vacuum use the store after each change. Digests
are made anew half of the time. A writer may refuse its work; it must not read, write or remove a
file outside of the store and its input.
"""

import atexit
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.faults.fuzz_harness import (
    CHANGED,
    SAME,
    Fuzzer,
    Wrong,
    command,
    copy_tree,
    in_child,
    mutate_bytes,
)
from tests.faults.fuzz_stores import (
    change_table,
    change_value,
    contents,
    replace_file,
    seal_again,
)
from tests.support.stores import DIM, add_segment, make_identity
from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.leases import lease_url
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Plan
from transforms.catalog.snapshot import newest_snapshot, read_snapshot
from transforms.errors import AlbeamError
from transforms.index.options import IndexOptions
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.read_parts import read_chunks
from transforms.ingest.survey import survey_input
from transforms.storage import filesystem, input_files
from transforms.streaming import checkpoint_writer
from transforms.streaming.checkpoint_writer import condense
from transforms.streaming.file_intake import (
    WatchOptions,
    check_plan_of,
    commit_entry,
    list_new,
    plan_entry,
)
from transforms.transactions.change_set import EMPTY, create_change_set
from transforms.transactions.compaction import (
    Source,
    check_compaction,
    choose_segments,
    compacted_format,
    compacted_name,
    plan_compaction,
)
from transforms.transactions.compaction_rows import open_live
from transforms.transactions.removal import remove_documents
from transforms.transactions.resume import choose_generation
from transforms.transactions.vacuum import find_orphans, remove_files, remove_snapshots

#: What is changed, by the ends of paths; each equally often.
KINDS = (
    *("segments/begun/plan.json", "segments/begun/changes.json", "segments/begun/changes/*"),
    *("segments/begun/heartbeat.json", "watch/*/*.json", "watch/*/*.parquet", "watch/*/*"),
    *("segments/*/plan.json", "segments/*/tombstones/*", "segments/begun/vectors/*"),
)
_RUN = "begun"


@cache
def base() -> Path:
    """Make a store with unfinished work, and its input; return the folder of both."""
    folder = Path(tempfile.mkdtemp(prefix="albeam-fuzz-base-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    in_child(lambda: _make(folder))
    return folder


@cache
def _sound() -> str:
    """Return what the writers answer on the unchanged store."""
    with tempfile.TemporaryDirectory(prefix="albeam-fuzz-") as folder:
        copy_tree(base(), Path(folder))
        _move(Path(folder, "store"), Path(folder))
        answers, errors = in_child(lambda: _answers(Path(folder)))
    assert not errors, errors
    return str(answers)


def _make(folder: Path) -> None:
    store, given = str(folder / "store"), folder / "in"
    given.mkdir()
    for file in range(3):
        ids = [f"f{file}-{n}" for n in range(20)]
        pq.write_table(pa.table({"id": ids, "text": ids}), given / f"{file}.parquet")
    for name in ("one", "two"):
        documents = {f"{name}{n:03d}": 1 for n in range(30)}
        add_segment(store, name, documents, metadata={}, language="english")
    remove_documents(store, ["one003", "two004"])
    paths = SegmentPaths(store, _RUN)
    create_change_set(paths, EMPTY)
    paths.create_plan(_plan(folder))
    paths.claim()
    filesystem.create_exclusively(lease_url(paths, 2, "append"), b"{}")
    options = _options(folder)
    for turn in range(3):
        state = options.journal.read()
        entry = plan_entry(options, state, list_new(options, state)[:1], 0.0)
        options.journal.add(entry)
        if turn < 2:
            options.journal.close(entry, 2)
        if turn == 1:
            checkpoint_writer.ENTRIES_PER_CHECKPOINT = 1
            condense(options.journal.read())


def _plan(folder: Path) -> Plan:
    files = input_files.list_inputs([str(folder / "in")])
    return plan_parts(survey_input(list(files), ColumnOptions()), 10, 1_000.0, None)


def _options(folder: Path) -> WatchOptions:
    inputs, store = (str(folder / "in"),), str(folder / "store")
    identity, index = make_identity(), IndexOptions("none")
    return WatchOptions(inputs, store, ColumnOptions(), identity, "float32", index, 1_000.0, 1.0)


def change(chosen: random.Random, work: Path, outside: Path) -> str:
    """Copy the store, and change one of its files; or add one of a hostile name."""
    copy_tree(base(), work)
    store = work / "store"
    _move(store, work)
    if chosen.random() < 0.1:
        names = ("٣-append-began", "9" * 200 + "-x-began", "00000002-..-began", "-began", "a\nb")
        path = store / "segments" / _RUN / "changes" / chosen.choice(names)
        path.write_bytes(b"{}")
        return f"added: {path.name[:20]!r}"
    pattern = chosen.choice(KINDS)
    path = chosen.choice(sorted(store.glob(pattern)) or sorted(store.glob("watch/*/*")))
    shown = path.relative_to(store)
    if chosen.random() < 0.25:
        return f"accident: {shown}: {replace_file(chosen, store, path, outside)}"
    if path.suffix == ".json" and chosen.random() < 0.8:
        value = json.loads(path.read_bytes())
        what = change_value(chosen, value, [str(outside / "precious"), "../../../outside/x"])
        if path.name in ("plan.json", "changes.json") and isinstance(value, dict):
            value = seal_again(value)
        path.write_text(json.dumps(value))
    elif path.suffix == ".json" and chosen.random() < 0.3:
        twice = b'{"segment": "one", "parts": [], ' + path.read_bytes()[1:]
        path.write_bytes(twice)
        what = "keys twice"
    elif path.suffix == ".parquet" and chosen.random() < 0.7:
        what = change_table(chosen, path)
    else:
        made, what = mutate_bytes(chosen, path.read_bytes())
        path.write_bytes(made)
    return f"purpose: {shown}: {what}"


def _move(store: Path, work: Path) -> None:
    """Let the plan and the journal of the copy name the copy of the input."""
    old, new = json.dumps(str(base()))[1:-1], json.dumps(str(work))[1:-1]
    root = Path(_options(base()).journal.root)
    (store / "watch" / root.name).rename(_options(work).journal.root)
    for path in [*store.rglob("plan.json"), *store.glob("watch/*/*.json")]:
        text = path.read_text().replace(old, new)
        value = json.loads(text)
        path.write_text(json.dumps(seal_again(value) if path.name == "plan.json" else value))
    for path in store.glob("watch/*/*.parquet"):
        table = pq.read_table(path)
        if "url" in table.column_names:
            place = table.column_names.index("url")
            urls = pc.replace_substring(
                table.column("url").cast(pa.string()), str(base()), str(work)
            )
            pq.write_table(table.set_column(place, "url", urls), path)


def _resume(work: Path) -> Any:
    """Resume an embed, but for the model: choose its folder, check and read its plan."""
    store = str(work / "store")
    newest = newest_snapshot(store)
    found = choose_generation(store, _RUN, "append", newest)
    plan = found.paths.read_plan()
    if plan is None:
        return None
    found.paths.claim()
    plan.check_files(input_files.list_inputs([str(work / "in")]), found.paths.plan)
    intact_parts(found.paths)
    return [[table.num_rows for table in read_chunks(plan, part)] for part in plan.parts]


def _watch(work: Path) -> Any:
    """Take the next files of a watch, and commit its open entry."""
    options = _options(work)
    state = condense(options.journal.read())
    new = [Path(file.url).name for file in list_new(options, state)]
    known = sorted(state.stored_urls()), sorted(state.documents_of(state.stored_urls()))
    entry = state.open_entry
    if entry is None:
        plan_entry(options, state, list_new(options, state), 0.0)
        return new
    paths = options.journal.paths(entry)
    check_plan_of(entry, paths)
    plan = paths.read_plan()
    assert plan is not None
    rows = [[table.num_rows for table in read_chunks(plan, part)] for part in plan.parts]
    if set(range(entry.parts)) <= paths.finished_parts():
        commit_entry(options, state, entry)
    return new, [len(each) for each in known], rows


def _compact(work: Path) -> Any:
    store = str(work / "store")
    chosen = choose_segments(read_snapshot(store), 1)
    sources = [Source.open(store, ref) for ref in chosen]
    form = compacted_format(sources)
    expected = plan_compaction(sources, form.metadata)
    paths = SegmentPaths(store, compacted_name(chosen))
    plan = paths.create_plan(expected)
    check_compaction(plan, expected, paths.plan)
    read = open_live(chosen, paths, plan)
    return [[table.num_rows for table in read(part)] for part in plan.parts]


def _delete(work: Path) -> Any:
    return remove_documents(str(work / "store"), ["one001"]).documents


def _vacuum(work: Path) -> None:
    store = str(work / "store")
    orphans = find_orphans(store, 1, 2**40)
    remove_snapshots(store, orphans)
    remove_files(store, orphans)
    for info in OpenSnapshot(store, newest_snapshot(store)).infos():
        assert info.identity.dim == DIM


#: What is done with a store, in order.
WRITERS: dict[str, Callable[[Path], Any]] = {
    "run": _resume,
    "watch": _watch,
    "compact": _compact,
    "delete": _delete,
    "vacuum": _vacuum,
}


def use(work: Path, what: str) -> str:
    """Use a store as each writer does."""
    os.environ["HOME"] = str(base())
    moved, given = contents(work / "moved"), contents(work / "in")
    answers, errors = _answers(work)
    if contents(work / "moved") != moved or contents(work / "in") != given:
        raise Wrong("a file outside of the store was changed")
    if errors:
        raise errors[0]
    return SAME if answers == _sound() else CHANGED


def _answers(work: Path) -> tuple[str, list[AlbeamError]]:
    """Return what the writers answer, and their errors."""
    answers, errors = {}, []
    for name, write in WRITERS.items():
        try:
            answers[name] = write(work)
        except AlbeamError as error:
            errors.append(error)
    return repr(answers), errors


def fuzzer() -> Fuzzer:
    """Return the fuzzer of writers."""
    _sound()
    return Fuzzer("writers", change, use)


if __name__ == "__main__":
    command([fuzzer], __doc__)
