"""The manifests of a segment, and who wins when two writers create one."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stores import make_identity, make_segment
from transforms.catalog.index_manifest import IndexFile, IndexInfo, IndexShard, Setting
from transforms.catalog.layout import SegmentPaths, part_name, segment_name
from transforms.catalog.manifest_json import check_name
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import complete_parts
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.errors import Conflict, Damaged
from transforms.ingest.partitioning import cut_parts
from transforms.ingest.survey import RowGroup
from transforms.storage import filesystem
from transforms.storage.checksummed_json import seal
from transforms.storage.filesystem import FileInfo

HOSTILE = [
    "../x", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "a\\b", "C:x", "a\x00", "a\n",
    "s3://b/c", "~", "%2e%2e", "é",
]  # fmt: skip
INDEX = IndexInfo(
    "IVF4,SQ8",
    "inner_product",
    (
        IndexShard(
            0,
            10,
            0,
            IndexFile("shard-00000-ab.faiss", 9, "d" * 64),
            IndexFile("raw-00000-ab.f16", 8, "e" * 64),
        ),
    ),
    (Setting(1.0, 8, 0.97, 0.95), Setting(0.5, 0, 1.0, 1.0)),
    IndexFile("trained-ab.faiss", 7, "f" * 64),
    0.25,
    why="IVF4,SQ8 for 10 rows",
)
FULL = make_segment(index=INDEX, inputs=(FileInfo("/in/a.parquet", 5, "mtime=1"),))
TEXT = st.text(max_size=8)
COUNT = st.integers(0, 2**53)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PART = st.builds(
    PartInfo, COUNT, NAME, COUNT, COUNT, TEXT, COUNT, COUNT, COUNT,
    st.dictionaries(TEXT, COUNT, max_size=3), st.just("") | NAME, TEXT,
)  # fmt: skip
FILE = st.builds(IndexFile, NAME, COUNT, TEXT)
SHARD = st.builds(IndexShard, COUNT, COUNT, COUNT, FILE, st.none() | FILE)
SHARE = st.floats(0, 1)
SETTING = st.builds(Setting, SHARE, st.integers(0, 2**31 - 1), SHARE, SHARE)
FACTORY = st.sampled_from(["Flat", "HNSW8", "RR8,PQ4x4", "SQ8"])
INDEXES = st.builds(
    IndexInfo, FACTORY, st.just("inner_product"), st.lists(SHARD, max_size=2).map(tuple),
    st.lists(SETTING, max_size=2).map(tuple), st.none() | FILE, st.none() | SHARE, why=TEXT,
)  # fmt: skip
SEGMENT = st.builds(
    SegmentInfo,
    name=NAME,
    identity=st.builds(make_identity, name=TEXT, query_prompt=TEXT, layer=st.integers()),
    vector_dtype=st.sampled_from(["float32", "float16"]),
    inputs=st.lists(st.builds(FileInfo, TEXT, COUNT, TEXT), max_size=3).map(tuple),
    metadata=st.just(pa.schema([("a", pa.list_(pa.timestamp("ns")))])),
    parts=st.lists(PART, max_size=3).map(tuple),
    index=st.none() | INDEXES,
)


@pytest.fixture
def paths(tmp_path: Path) -> SegmentPaths:
    return SegmentPaths(str(tmp_path), "s")


def changed(content: bytes, *keys: str | int, value: object) -> bytes:
    """A JSON file's content with the value at ``keys`` replaced."""
    whole = json.loads(content)
    place = whole
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return json.dumps(whole).encode()


@given(SEGMENT)
def test_a_segment_survives_json_with_the_same_bytes(info: SegmentInfo) -> None:
    content = info.to_json()
    again = SegmentInfo.from_json(content, "segment.json")
    assert again == info
    assert again.to_json() == content


def test_a_segment_adds_up_its_parts() -> None:
    first = make_segment().parts[0]
    second = dataclasses.replace(
        first, rows=5, documents=2, rejects={"null id": 1, "empty text": 1}
    )
    info = make_segment(parts=(first, second))
    assert (info.rows, info.total("documents")) == (15, 7)
    assert info.rejects == {"empty text": 3, "null id": 1}


@pytest.mark.parametrize("name", HOSTILE)
def test_only_plain_file_names_are_names(name: str) -> None:
    with pytest.raises(Damaged) as caught:
        check_name(name)
    assert (caught.value.option, caught.value.value) == ("file name", name)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b"])
@pytest.mark.parametrize(
    "keys",
    [
        ("name",),
        ("parts", 0, "name"),
        ("parts", 0, "rejects_name"),
        ("index", "shards", 0, "file", "name"),
        ("index", "shards", 0, "raw", "name"),
        ("index", "trained", "name"),
    ],
)
def test_a_segment_whose_names_leave_the_store_is_refused_and_its_file_named(
    keys: tuple[str | int, ...], name: str
) -> None:
    content = changed(FULL.to_json(), *keys, value=name)
    with pytest.raises(Damaged) as caught:
        SegmentInfo.from_json(content, "store/segment.json")
    assert (caught.value.option, caught.value.value) == ("file", "store/segment.json")
    assert repr(name) in caught.value.problem


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff", b"[]", b"null", b"7", b'"x"', b"{}",
        changed(FULL.to_json(), "parts", value=7),
        changed(FULL.to_json(), "parts", value=["x"]),
        changed(FULL.to_json(), "parts", 0, "surplus", value=1),
        changed(FULL.to_json(), "index", value=[]),
        changed(FULL.to_json(), "index", value={"factory": "Flat"}),
        changed(FULL.to_json(), "identity", value={"name": "x"}),
        changed(FULL.to_json(), "metadata", value="zz"),
        changed(FULL.to_json(), "metadata", value="0011"),
    ],
)  # fmt: skip
def test_a_broken_segment_file_is_damaged_and_named(content: bytes) -> None:
    with pytest.raises(Damaged) as caught:
        SegmentInfo.from_json(content, "store/segment.json")
    assert (caught.value.option, caught.value.value) == ("file", "store/segment.json")


@given(st.integers(0), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_the_name_of_a_part_is_a_name_and_tells_its_number(number: int, digest: str) -> None:
    name = check_name(part_name(number, digest, ".parquet"))
    assert name.startswith(f"part-{number:05d}-")
    assert digest[:8] in name


def test_the_name_of_a_segment_depends_on_every_value_and_on_no_order() -> None:
    assert segment_name({"a": 1, "b": 2}) == segment_name({"b": 2, "a": 1})
    assert segment_name({"a": 1, "b": 2}) != segment_name({"a": 1, "b": 3})
    assert len(check_name(segment_name({}))) == 16


def plan(rows: int) -> Plan:
    parts = tuple(cut_parts([[RowGroup(rows, 10)]], 4, 100))
    return Plan((FileInfo("f", 1, ""),), ColumnOptions(), pa.schema([]), parts)


def test_the_first_plan_stays_and_later_ones_adopt_it(paths: SegmentPaths) -> None:
    assert paths.read_plan() is None
    assert paths.create_plan(plan(10)) == plan(10)
    assert paths.create_plan(plan(20)) == plan(10)
    assert paths.read_plan() == plan(10)


def test_a_broken_plan_file_is_named(paths: SegmentPaths) -> None:
    filesystem.create_exclusively(paths.plan, b"{")
    with pytest.raises(Damaged) as caught:
        paths.read_plan()
    assert (caught.value.option, caught.value.value) == ("file", paths.plan)


def test_parts_with_a_marker_are_finished(paths: SegmentPaths) -> None:
    part = make_segment().parts[0]
    for number in (0, 2, 123_456):
        paths.create_marker(dataclasses.replace(part, number=number))
    for stray in ("part-00001-abcd.parquet", "part-1.json", ".part-00004.json", "x.json"):
        filesystem.create_exclusively(filesystem.join(paths.vectors, stray), b"")
    assert paths.finished_parts() == {0, 2, 123_456}
    assert paths.read_marker(1) is None
    assert paths.read_marker(2) == dataclasses.replace(part, number=2)


def test_a_part_that_comes_late_adopts_the_marker_and_removes_its_files(
    paths: SegmentPaths,
) -> None:
    part = make_segment().parts[0]
    first = dataclasses.replace(part, name="one", rejects_name="same", rejects_sha256="x")
    late = dataclasses.replace(part, name="two", rejects_name="same", rejects_sha256="x")
    urls = {name: filesystem.join(paths.vectors, name) for name in ("one", "two")}
    rejects = filesystem.join(paths.rejects, "same")
    for url in (*urls.values(), rejects):
        filesystem.create_exclusively(url, b"")
    assert paths.create_marker(first) == first
    assert paths.create_marker(late) == first
    assert [name for name, url in urls.items() if filesystem.exists(url)] == ["one"]
    assert filesystem.exists(rejects)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null"])
def test_a_broken_marker_is_damaged_and_named(paths: SegmentPaths, content: bytes) -> None:
    filesystem.create_exclusively(paths.marker(0), content)
    with pytest.raises(Damaged) as caught:
        paths.read_marker(0)
    assert (caught.value.option, caught.value.value) == ("file", paths.marker(0))
    assert "--no-resume" in caught.value.remedy


@pytest.mark.parametrize("field", ["name", "rejects_name"])
def test_a_marker_whose_names_leave_the_store_is_refused(paths: SegmentPaths, field: str) -> None:
    value = dataclasses.asdict(make_segment().parts[0]) | {field: "../../x"}
    filesystem.create_exclusively(paths.marker(0), seal(value))
    with pytest.raises(Damaged) as caught:
        paths.read_marker(0)
    assert (caught.value.option, caught.value.value) == ("file", paths.marker(0))
    assert "'../../x'" in caught.value.problem


def test_all_parts_are_found_from_what_is_known_and_from_markers(paths: SegmentPaths) -> None:
    part = make_segment().parts[0]
    infos = [dataclasses.replace(part, number=number) for number in range(3)]
    paths.create_marker(infos[1])
    assert complete_parts(paths, 3, [infos[2], infos[0]]) == tuple(infos)
    with pytest.raises(Damaged) as caught:
        complete_parts(paths, 3, [infos[2]])
    assert (caught.value.option, caught.value.value) == ("file", paths.marker(0))


def test_a_manifest_is_created_once_and_returned_with_its_digest(paths: SegmentPaths) -> None:
    info = make_segment()
    assert paths.create_manifest(info)[0] == info
    rebuilt = make_segment(index=INDEX)
    existing, digest = paths.create_manifest(rebuilt)
    assert existing == info
    assert digest == hashlib.sha256(filesystem.read_bytes(paths.manifest)).hexdigest()


def test_a_segment_of_other_parts_is_a_conflict(paths: SegmentPaths) -> None:
    paths.create_manifest(make_segment())
    with pytest.raises(Conflict) as caught:
        paths.create_manifest(make_segment(parts=()))
    assert (caught.value.option, caught.value.value) == ("manifest", paths.manifest)
