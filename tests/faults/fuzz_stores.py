"""Files of stores other than indexes with random changes, by accident and on purpose.

Run as ``python -m tests.faults.fuzz_stores [--seed N] [--count N] [--only N]``. An accident leaves
the digests as they are: it changes bytes, removes a file, or puts another file, a link, a pipe or a
folder in its place. On purpose, digests are made anew, up to that of the snapshot: bytes, values of
JSON files and tables of parts are changed. The indexes of vectors have a fuzzer of their own.
"""

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.maintenance import verify
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
from tests.support.stores import add_segment, found, sign
from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import SegmentPaths
from transforms.errors import AlbeamError, Damaged
from transforms.search.store import Store
from transforms.storage.parquet_footers import digest_of_file
from transforms.transactions.removal import remove_documents
from transforms.transactions.vacuum import find_orphans, remove_files

#: What the files of a store are, by the ends of their paths; each is changed equally often.
KINDS = (
    *("snapshots/newest", "snapshots/*.json", "segments/*/segment.json", "segments/*/plan.json"),
    *("segments/*/vectors/*.parquet", "segments/*/vectors/*.json", "segments/*/rejects/*"),
    *("segments/*/tombstones/*", "segments/*/lexical/*", "segments/*/index/*"),
)
#: What takes the place of a value in a JSON file.
_VALUES = (
    *(None, True, -1, 0, 1, 2, 7, 500.5, 2**31, 2**40, 2**53, 2**63, 2**64, 10**40, 1e308, "", "x"),
    *("../../outside/precious", "/etc/passwd", "..", "a/b", "a\\b", "a\0b", "é", "x" * 3_000, {}),
    *([], [1], {"a": 1}, "٣", "-1", "nan", [[]] * 3),
)


@cache
def base() -> tuple[Path, dict[str, Any]]:
    """Make a sound store; return its folder, and what each use of it answers."""
    folder = Path(tempfile.mkdtemp(prefix="albeam-fuzz-base-"))
    return folder / "store", in_child(lambda: _make(str(folder / "store")))


def _make(store: str) -> dict[str, Any]:
    _prepare(Path(store).parent)
    names = {f"a{n:03d}": 1 + n % 2 for n in range(150)}
    add_segment(store, "one", names, parts=2, language="english", rejects=2)
    names = {f"b{n:03d}": 1 for n in range(120)}
    add_segment(store, "two", names, index="SQ8", recall_target=0.1, language="english")
    remove_documents(store, ["a003", "b004", "b005"])
    return {name: _plain(use(store)) for name, use in READERS.items()}


def _prepare(home: Path) -> None:
    """Prepare a child: its files that were checked are noted in a folder of this fuzz."""
    os.environ["HOME"] = str(home)
    faiss.omp_set_num_threads(1)


def _plain(value: Any) -> str:
    return repr(value)


def _documents(store: str) -> list[Any]:
    tables = list(Store.open(store).documents(["document_id", "text", "year"]))
    return [table.to_pylist() for table in tables]


def _lexical(store: str) -> list[Any]:
    hits = Store.open(store).search(["a003 a010", "b100"], 5, mode="lexical")
    return [[(hit.document_id, hit.text, hit.score) for hit in each] for each in hits]


def _chosen(store: str) -> list[Any]:
    opened = Store.open(store)
    rows = opened.live.mask("year > 5 and document_id < 'b1'")
    return [int(rows.sum()) if rows is not None else -1, np.flatnonzero(rows)[:9].tolist()]


#: What readers do with a store.
READERS: dict[str, Callable[[str], Any]] = {
    "vectors": lambda store: found(store, 5, 4),
    "words": _lexical,
    "condition": _chosen,
    "documents": _documents,
    "verify": lambda store: verify.run(store).passages,
}


def _delete(store: str) -> None:
    remove_documents(store, ["a001", "b001"])


def _resume(store: str) -> None:
    for name in ("one", "two"):
        SegmentPaths(store, name).read_plan()
        intact_parts(SegmentPaths(store, name))


def _vacuum(store: str) -> None:
    remove_files(store, find_orphans(store, 1, 2**40))


#: What writers do with it.
WRITERS: dict[str, Callable[[str], Any]] = {"delete": _delete, "run": _resume, "vacuum": _vacuum}


def change(chosen: random.Random, work: Path, outside: Path) -> str:
    """Copy a store, and change one of its files."""
    store = work / "store"
    copy_tree(base()[0], store)
    path = chosen.choice(sorted(store.glob(chosen.choice(KINDS))))
    shown = path.relative_to(store)
    if chosen.random() < 0.5:
        return f"accident: {shown}: {_accident(chosen, store, path, outside)}"
    what = _purpose(chosen, path)
    vouch(store)
    return f"purpose: {shown}: {what}"


def _accident(chosen: random.Random, store: Path, path: Path, outside: Path) -> str:
    kind = chosen.random()
    content = path.read_bytes()
    if kind < 0.05:
        path.unlink()
        return "removed"
    if kind < 0.15:
        other = chosen.choice([each for each in sorted(store.rglob("*")) if each.is_file()])
        path.write_bytes(other.read_bytes())
        return f"the content of {other.relative_to(store)}"
    if kind < 0.35:
        return replace_file(chosen, store, path, outside)
    if path.suffix == ".parquet" and kind < 0.75:
        length = int.from_bytes(content[-8:-4], "little") + 8
        place = len(content) - length + chosen.randrange(length)
        made, what = bytearray(content), f"a bit of the footer, byte {place}"
        made[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(made)
        return what
    made, what = mutate_bytes(chosen, content)
    path.write_bytes(made)
    return what if made != content else f"{what}, which changes nothing"


def replace_file(chosen: random.Random, store: Path, path: Path, outside: Path) -> str:
    """Put a link, a pipe or a folder in the place of a file or of a folder above it."""
    kind = chosen.choice(("link", "precious", "pipe", "device", "folder", "above", "loop"))
    if kind == "above":
        # Its content is sound, and lies outside of the store all the same.
        folder = chosen.choice([each for each in path.parents if each.is_relative_to(store)][:-1])
        moved = store.with_name("moved")
        shutil.move(folder, moved)
        folder.symlink_to(moved)
        return f"{folder.relative_to(store)} is a link"
    if kind == "link":
        moved = store.with_name("moved")
        shutil.move(path, moved)
        path.symlink_to(moved)
        return "a link"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        to = {"precious": outside / "precious", "device": "/dev/zero", "loop": path}[kind]
        path.symlink_to(to)
    return f"replaced: {kind}"


def _purpose(chosen: random.Random, path: Path) -> str:
    if path.suffix == ".json" and chosen.random() < 0.85:
        value = json.loads(path.read_bytes())
        what = ", ".join(change_value(chosen, value) for _ in range(chosen.choice((1, 1, 2))))
        path.write_text(json.dumps(value))
        return what
    if path.suffix == ".parquet" and chosen.random() < 0.5:
        return change_table(chosen, path)
    if path.suffix == ".json" and chosen.random() < 0.3:
        path.write_bytes(b'{"a":' * 5_000)
        return "deep"
    made, what = mutate_bytes(chosen, path.read_bytes())
    path.write_bytes(made)
    return what


def change_value(chosen: random.Random, value: Any, more: Sequence[Any] = ()) -> str:
    """Replace, remove or double one of the values in a JSON value, also by ``more`` values."""
    places: list[tuple[Any, Any]] = []

    def collect(each: Any) -> None:
        keys = each if isinstance(each, dict) else range(len(each)) if type(each) is list else ()
        for key in keys:
            places.append((each, key))
            collect(each[key])

    collect(value)
    if not places:
        return "nothing"
    holder, key = chosen.choice(places)
    kind = chosen.random()
    if kind < 0.08:
        del holder[key]
        return f"{key} removed"
    if kind < 0.16 and isinstance(holder, list):
        holder.append(holder[key])
        return f"{key} twice"
    old = holder[key]
    near = [old - 1, old + 1, -old, 2 * old] if type(old) is int else []
    holder[key] = chosen.choice([*near, *more, *_VALUES])
    return f"{key} became {str(holder[key])[:30]!r}"


def change_table(chosen: random.Random, path: Path) -> str:
    """Give a part or its rejected rows a table that its format does not allow."""
    table = pq.read_table(path)
    names = table.column_names
    name = chosen.choice(names)
    place = names.index(name)
    kind = chosen.choice(("drop", "null", "type", "twice", "rows", "rename", "order", "nan"))
    if kind == "drop":
        table = table.drop_columns([name])
    elif kind == "null":
        table = table.set_column(place, name, pa.nulls(len(table), table.schema.field(name).type))
    elif kind == "type":
        table = table.set_column(place, name, pa.array([b"\xff"] * len(table)))
    elif kind == "twice":
        table = table.append_column(name, table.column(name))
    elif kind == "rows":
        table = table.slice(0, chosen.randrange(len(table)))
    elif kind == "rename":
        table = table.rename_columns([f"{each}!" if each == name else each for each in names])
    elif kind == "order":
        table = table.take(pa.array(chosen.sample(range(len(table)), len(table))))
    elif "vector" in names:
        dim = table.schema.field("vector").type.list_size
        values = pa.array(np.full(len(table) * dim, np.nan, np.float32))
        vectors = pa.FixedSizeListArray.from_arrays(values, dim)
        table = table.set_column(names.index("vector"), "vector", vectors)
    pq.write_table(table, path, row_group_size=chosen.choice((7, 512)))
    return f"{kind} {name}"


def vouch(store: Path) -> None:
    """Make the digests of all files anew where they are JSON objects that can be changed."""
    for manifest in store.glob("segments/*/segment.json"):
        _edit(manifest, lambda value, root=manifest.parent: _vouch_for_files(value, root))
    for marker in store.glob("segments/*/vectors/*.json"):
        _edit(marker, seal_again)
    for plan in store.glob("segments/*/plan.json"):
        _edit(plan, seal_again)
    for path in store.glob("snapshots/*.json"):
        _edit(path, lambda value: _vouch_for_segments(value, store))


def _edit(path: Path, edit: Callable[[Any], Any]) -> None:
    try:
        value = json.loads(path.read_bytes())
        path.write_text(json.dumps(edit(value)))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, RecursionError):
        # What can't be read can't be vouched for.
        return


def seal_again(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object of a sealed file with a new digest."""
    value.pop("digest", None)
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return value | {"digest": digest}


def _vouch_for_files(value: dict[str, Any], root: Path) -> dict[str, Any]:
    for part in value["parts"]:
        path = root / "vectors" / part["name"]
        part.update(sha256=_sha256(path), bytes=path.stat().st_size)
        try:
            part["footer_sha256"] = digest_of_file(str(path))
        except pa.ArrowInvalid:
            # As albeam 0.1 wrote it.
            part.pop("footer_sha256", None)
        if part["rejects_name"]:
            part["rejects_sha256"] = _sha256(root / "rejects" / part["rejects_name"])
    pieces = [piece for shard in value["lexical"]["shards"] for piece in shard["pieces"]]
    shards = value["index"]["shards"]
    files = [(root / "lexical", file) for piece in pieces for file in piece["files"]]
    files += [(root / "index", shard[kind]) for shard in shards for kind in ("file", "raw")]
    for folder, file in files:
        if file is not None:
            path = folder / file["name"]
            file.update(sha256=_sha256(path), bytes=path.stat().st_size)
    return value


def _vouch_for_segments(value: dict[str, Any], store: Path) -> dict[str, Any]:
    for ref in value["segments"]:
        root = store / "segments" / ref["name"]
        ref["sha256"] = _sha256(root / "segment.json")
        if ref["tombstones"] is not None:
            path = root / "tombstones" / ref["tombstones"]["name"]
            ref["tombstones"]["sha256"] = _sha256(path)
    return sign(value)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use(work: Path, what: str) -> str:
    """Read a store in each way, verify it, and write to it."""
    _prepare(base()[0].parent)
    store, expected = str(work / "store"), base()[1]
    moved = contents(work / "moved")
    errors: dict[str, AlbeamError] = {}
    wrong = []
    for name, read in READERS.items():
        try:
            if _plain(read(store)) != expected[name]:
                wrong.append(name)
        except AlbeamError as error:
            errors[name] = error
    reading = {name: error for name, error in errors.items() if isinstance(error, Damaged)}
    if reading and "verify" not in errors:
        raise Wrong(f"verify found nothing, but a reader did: {reading}")
    if wrong and what.startswith("accident"):
        raise Wrong(f"other answers and no error: {wrong}")
    for name, write in WRITERS.items():
        try:
            write(store)
        except AlbeamError as error:
            errors[name] = error
    if contents(work / "moved") != moved:
        raise Wrong("a file behind a link was changed")
    if errors:
        raise next(iter(errors.values()))
    return CHANGED if wrong else SAME


def contents(path: Path) -> dict[str, bytes]:
    """Return the content of a file, or of each file of a folder."""
    paths = sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []
    return {str(each): each.read_bytes() for each in paths if each.is_file()}


def fuzzer() -> Fuzzer:
    """Return the fuzzer of stores."""
    base()
    return Fuzzer("stores", change, use)


if __name__ == "__main__":
    command([fuzzer], __doc__)
