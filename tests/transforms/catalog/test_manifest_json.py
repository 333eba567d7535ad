"""Every JSON file of a store is decoded strictly, and every failure names the file."""

import base64
import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pytest
from pyroaring import BitMap

from tests.support.stores import make_identity, make_segment
from transforms.catalog.index_manifest import IndexFile, IndexInfo, IndexShard, Setting
from transforms.catalog.lexical_manifest import LexicalInfo, LexicalPiece, LexicalShard
from transforms.catalog.manifest_json import convert, decode
from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Part, Plan, Slice
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot
from transforms.catalog.tombstones import TombstoneRef
from transforms.errors import Damaged
from transforms.storage.checksummed_json import seal, unseal
from transforms.storage.filesystem import FileInfo
from transforms.streaming.journal_entries import Closing, Entry
from transforms.transactions.change_set import Bucket, ChangeSet, SegmentChange

WHERE = "store/file.json"
FILE = IndexFile("shard-00000-ab.faiss", 9, "d" * 64)
INDEX = IndexInfo(
    factory="IVF4,SQ8",
    metric="inner_product",
    shards=(IndexShard(0, 10, 0, FILE, IndexFile("raw-00000-ab.f16", 8, "e" * 64)),),
    settings=(Setting(1.0, 8, 0.97, 0.95, 0.9, 16),),
    trained=IndexFile("trained-ab.faiss", 7, "f" * 64),
    error=0.25,
    drift=1.5,
    why="IVF4,SQ8 for 10 rows",
)
LEXICAL = LexicalInfo("english", (LexicalShard(0, 10, 0, (LexicalPiece(10, (FILE,)),)),), 2)
INPUT = FileInfo("/in/a.parquet", 5, "mtime=1")
SEGMENT = make_segment(index=INDEX, inputs=(INPUT,), lexical=LEXICAL)
PART = replace(SEGMENT.parts[0], rejects_name="rejects", rejects_sha256="a" * 64)
REF = SegmentRef("s", "a" * 64, 5, 10, {"empty text": 2}, TombstoneRef("t", "b" * 64, 2, 1), FILE)
SNAPSHOT = Snapshot(1, "now", "embed", "c" * 64, make_identity(), (REF,), weight=0.5)
MASK = base64.b64encode(BitMap([0, 3]).serialize()).decode()
PLAN = Plan(
    (INPUT,),
    ColumnOptions("id", "text", (("year", "y"),)),
    pa.schema([("year", pa.int16())]),
    (Part(0, (Slice(0, 0, 0, 5, 0), Slice(0, 1, 0, 5, 5, MASK)), "carry"),),
)
CHANGES = ChangeSet(
    1,
    "sync",
    10,
    (SegmentChange(REF, TombstoneRef("t", "b" * 64, 2, 1), None),),
    (Bucket(0, "bucket", "b" * 64, {"new": 1}, {"empty text": 1}, 0, 1, ("a",)),),
)
ENTRY = Entry(1, "segment", 2, (INPUT,), {"b.parquet": "why"}, 12.5)

Load = Callable[[dict[str, Any]], object]


def plain(load: Callable[[bytes], object]) -> Load:
    """A loader of JSON values from one of file contents."""
    return lambda value: load(json.dumps(value).encode())


KINDS: dict[str, tuple[object, dict[str, Any], Load]] = {
    "segment": (
        SEGMENT,
        json.loads(SEGMENT.to_json()),
        plain(lambda content: SegmentInfo.from_json(content, WHERE)),
    ),
    "snapshot": (
        SNAPSHOT,
        json.loads(SNAPSHOT.to_json()),
        plain(lambda content: Snapshot.from_json(content, WHERE)),
    ),
    "index": (INDEX, asdict(INDEX), plain(lambda content: decode(content, IndexInfo, WHERE))),
    "lexical": (LEXICAL, asdict(LEXICAL), plain(lambda it: decode(it, LexicalInfo, WHERE))),
    "entry": (ENTRY, asdict(ENTRY), plain(lambda content: decode(content, Entry, WHERE))),
    "closing": (
        Closing(3, "", 1.5),
        asdict(Closing(3, "", 1.5)),
        plain(lambda content: decode(content, Closing, WHERE)),
    ),
    "marker": (PART, asdict(PART), lambda it: convert(unseal(seal(it), WHERE), PartInfo, WHERE)),
    "plan": (
        PLAN,
        unseal(PLAN.to_json(), WHERE),
        lambda value: Plan.from_json(seal(value), WHERE),
    ),
    "changes": (
        CHANGES,
        unseal(CHANGES.to_json(), WHERE),
        lambda value: ChangeSet.from_json(seal(value), WHERE),
    ),
}
#: Keys that an earlier version of albeam did not write, or did not require.
OPTIONAL = {
    *("lexical", "weight", "tombstones", "index", "rejects_name", "rejects_sha256", "carry"),
    *("questions_at_10", "value_at_100", "error", "drift", "why", "asked", "target", "mask"),
    *("analyzer", "footer_sha256"),
    *("id_column", "text_column", "metadata", "all_columns"),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside a JSON value, and of itself."""
    yield path
    keys = value if isinstance(value, dict) else range(len(value)) if is_array(value) else ()
    for key in keys:
        # The counts are for people, and are not read.
        if (*path, key) != ("counts",):
            yield from places(value[key], (*path, key))


def is_array(value: Any) -> bool:
    return isinstance(value, list | tuple)


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def mutable(value: dict[str, Any]) -> dict[str, Any]:
    """A deep copy with lists for tuples."""
    return json.loads(json.dumps(value))  # type: ignore[no-any-return]


def assert_damaged(load: Load, value: dict[str, Any], path: tuple[Any, ...]) -> None:
    with pytest.raises(Damaged) as caught:
        load(value)
    assert (caught.value.option, caught.value.value) == ("file", WHERE), path
    assert caught.value.problem, path
    assert caught.value.remedy, path


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_decoded_into_what_was_written(kind: str) -> None:
    expected, value, load = KINDS[kind]
    assert load(mutable(value)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_key_is_damage_wherever_it_is(kind: str) -> None:
    _, value, load = KINDS[kind]
    for path in places(value):
        if isinstance(at(value, path), dict):
            changed = mutable(value)
            at(changed, path)["surplus"] = []
            assert_damaged(load, changed, path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_key_is_damage_unless_earlier_versions_lacked_it(kind: str) -> None:
    _, value, load = KINDS[kind]
    for path in places(value):
        if path and isinstance(at(value, path[:-1]), dict):
            changed = mutable(value)
            del at(changed, path[:-1])[path[-1]]
            if path[-1] in OPTIONAL or "rejects" in path[:-1] or path[-1] in ("new", "b.parquet"):
                try:
                    load(changed)
                except Damaged:
                    assert path[-1] in ("index", "metadata")
            elif path[:-1] != ("carry",):
                assert_damaged(load, changed, path)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, [[[[]]]], {"a": {}}, True], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_another_type_or_not_finite_is_damage(kind: str, wrong: object) -> None:
    _, value, load = KINDS[kind]
    for path in places(value):
        if isinstance(at(value, path), bool):
            continue
        changed: Any = mutable(value)
        if path:
            at(changed, path[:-1])[path[-1]] = copy.deepcopy(wrong)
        elif isinstance(wrong, dict):
            changed = wrong
        else:
            continue
        assert_damaged(load, changed, path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"1e999", b"NaN", b"[]", b"null"],
    ids=lambda content: content[:5].decode("latin-1"),
)
def test_content_that_is_no_manifest_is_damage(content: bytes) -> None:
    loads: list[Callable[[], object]] = [
        lambda: SegmentInfo.from_json(content, WHERE),
        lambda: Snapshot.from_json(content, WHERE),
        lambda: decode(content, IndexInfo, WHERE),
        lambda: decode(content, Entry, WHERE),
        lambda: convert(unseal(content, WHERE), PartInfo, WHERE),
        lambda: Plan.from_json(content, WHERE),
        lambda: ChangeSet.from_json(content, WHERE),
    ]
    for load in loads:
        with pytest.raises(Damaged) as caught:
            load()
        assert (caught.value.option, caught.value.value) == ("file", WHERE)


def test_a_number_that_overflows_a_float_is_damage() -> None:
    content = SEGMENT.to_json().replace(b'"error": 0.25', b'"error": 1e999')
    assert content != SEGMENT.to_json()
    with pytest.raises(Damaged) as caught:
        SegmentInfo.from_json(content, WHERE)
    assert "inf" in caught.value.problem


def test_files_of_earlier_versions_are_read() -> None:
    segment = json.loads(SEGMENT.to_json())
    del segment["lexical"]
    assert SegmentInfo.from_json(json.dumps(segment).encode(), WHERE) == replace(
        SEGMENT, lexical=None
    )
    snapshot = json.loads(replace(SNAPSHOT, weight=None).to_json())
    assert "weight" not in snapshot
    assert "lexical" not in snapshot["segments"][0]
    for key in ("tombstones", "index"):
        del snapshot["segments"][0][key]
    assert Snapshot.from_json(json.dumps(snapshot).encode(), WHERE) == replace(
        SNAPSHOT, weight=None, segments=(replace(REF, tombstones=None, index=None),)
    )
    plan = unseal(PLAN.to_json(), WHERE)
    del plan["carry"]
    assert Plan.from_json(seal(plan), WHERE) == replace(
        PLAN, parts=(replace(PLAN.parts[0], carry=""),)
    )
