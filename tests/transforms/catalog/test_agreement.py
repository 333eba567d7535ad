"""Manifests whose digests fit, and whose values are impossible or contradict each other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.maintenance import verify
from tests.support.damage import rewrite_manifest, rewrite_snapshot, segment_file
from tests.support.stores import add_segment
from transforms.catalog.manifest_json import encode_schema
from transforms.errors import Damaged
from transforms.search.store import Store

Value = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    add_segment(str(root), "a", {f"d{n}": 2 for n in range(20)}, parts=2, language="none")
    return root


def _shards(value: Value) -> list[Value]:
    return value["lexical"]["shards"]


def _columns(*names: str) -> str:
    return encode_schema(pa.schema([(name, pa.int16()) for name in names]))


MANIFESTS: dict[str, Callable[[Value], None]] = {
    "half a row": lambda v: v["parts"][0].update(rows=10.5),
    "a text for a number": lambda v: v["parts"][0].update(rows="20"),
    "rows below none": lambda v: v["parts"][0].update(rows=-20),
    "too many bytes": lambda v: v["parts"][0].update(bytes=10**30),
    "more documents than passages": lambda v: v["parts"][0].update(documents=10**6),
    "rows moved between parts": lambda v: v["parts"][0].update(rows=19),
    "one part twice": lambda v: v["parts"].__setitem__(1, v["parts"][0]),
    "parts in another order": lambda v: v["parts"].reverse(),
    "no part": lambda v: v["parts"].clear(),
    "an absolute name": lambda v: v["parts"][0].update(name="/etc/passwd"),
    "a name above": lambda v: v["parts"][0].update(rejects_name="../../x"),
    "a backslash": lambda v: v["parts"][0].update(name="..\\x"),
    "a zero byte": lambda v: v["parts"][0].update(name="part\0"),
    "a long name": lambda v: v["parts"][0].update(name="p" * 5_000),
    "another segment": lambda v: v.update(name="b"),
    "no width": lambda v: v["identity"].update(dim=0),
    "a width below none": lambda v: v["identity"].update(dim=-8),
    "a huge width": lambda v: v["identity"].update(dim=10**9),
    "no tokens": lambda v: v["identity"].update(max_tokens=0),
    "another type of vectors": lambda v: v.update(vector_dtype="int3"),
    "a column of albeam's own": lambda v: v.update(metadata=_columns("text_hash")),
    "a column twice": lambda v: v.update(metadata=_columns("x", "x")),
    "no schema": lambda v: v.update(metadata="00ff"),
    "rows before the first": lambda v: _shards(v)[0].update(first_row=-1),
    "a later first row": lambda v: _shards(v)[0].update(first_row=1),
    "shards counted otherwise": lambda v: _shards(v)[0].update(number=1),
    "a shard twice": lambda v: _shards(v).append(_shards(v)[0]),
    "a piece of other rows": lambda v: _shards(v)[0]["pieces"][0].update(rows=1),
    "an index of fewer rows": lambda v: v["index"]["shards"][0].update(rows=1),
    "an index from another row": lambda v: v["index"]["shards"][0].update(first_row=7),
    "deep": lambda v: v.update(inputs=json.loads("[" * 500 + "]" * 500)),
}

SNAPSHOTS: dict[str, Callable[[Value], None]] = {
    "a segment twice": lambda v: v["segments"].append(v["segments"][0]),
    "more dead than rows": lambda v: v["segments"][0].update(
        tombstones={"name": "x", "sha256": "0" * 64, "passages": 41, "documents": 1}
    ),
    "passages below none": lambda v: v["segments"][0].update(passages=-1),
    "other passages": lambda v: v["segments"][0].update(passages=41),
    "a huge weight": lambda v: v.update(weight=1e300),
    "no width": lambda v: v["identity"].update(dim=0),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_an_impossible_manifest_is_named(store: Path, kind: str) -> None:
    rewrite_manifest(store, MANIFESTS[kind])
    manifest = str(segment_file(store, "segment.json"))
    with pytest.raises(Damaged) as caught:
        Store.open(str(store))
    assert caught.value.value == manifest
    assert caught.value.problem
    assert caught.value.remedy
    with pytest.raises(Damaged, match="segment.json"):
        verify.run(str(store))


@pytest.mark.parametrize("kind", SNAPSHOTS)
def test_an_impossible_snapshot_is_named(store: Path, kind: str) -> None:
    rewrite_snapshot(store, SNAPSHOTS[kind])
    with pytest.raises(Damaged) as caught:
        Store.open(str(store))
    assert caught.value.option == "file"
    with pytest.raises(Damaged):
        verify.run(str(store))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"9" * 5_000, b"NaN", b""])
def test_a_manifest_of_another_kind_is_named(store: Path, content: bytes) -> None:
    path = store / "snapshots" / "00000001.json"
    path.write_bytes(content)
    with pytest.raises(Damaged) as caught:
        Store.open(str(store))
    assert caught.value.value == str(path)


@pytest.mark.parametrize("name", ["٠٠٠٠٠٠٠٢.json", "9" * 200 + ".json", "00000002.json.json"])
def test_odd_names_are_no_snapshots(store: Path, name: str) -> None:
    (store / "snapshots" / name).write_text("{}", encoding="utf-8")
    assert Store.open(str(store)).snapshot.number == 1


@pytest.mark.parametrize("content", ["-5", "1e9", "9" * 900, "\x00", "²"])
def test_an_odd_record_of_the_newest_snapshot_is_ignored(store: Path, content: str) -> None:
    (store / "snapshots" / "newest").write_text(content, encoding="utf-8")
    assert Store.open(str(store)).snapshot.number == 1
