"""Parts are opened by the footer that was written: no changed bit gives other documents."""

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.damage import rewrite_manifest, segment_file
from tests.support.stores import add_segment
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import format_of, open_part, read_vectors
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import read_segment, read_snapshot
from transforms.errors import Damaged
from transforms.storage.file_cache import FileCache
from transforms.storage.parquet_footers import check_coverage, digest_of_file

_TRIES = 150


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    add_segment(str(root), "a", {f"d{n}": 2 for n in range(400)}, parts=2)
    return root


def _parts(store: Path) -> tuple[SegmentPaths, SegmentInfo]:
    [ref] = read_snapshot(str(store)).segments
    return SegmentPaths(str(store), ref.name), read_segment(str(store), ref)


def _without_footers(store: Path) -> None:
    """Make the store one of albeam 0.1, whose manifests know no footers."""
    rewrite_manifest(store, lambda v: [part.pop("footer_sha256") for part in v["parts"]])


def _changed_footers(path: Path) -> list[bytes]:
    """The file with one bit of its footer changed, at many places."""
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little") + 8
    chosen = random.Random(1).sample(range(length * 8), _TRIES)
    changed = []
    for bit in chosen:
        other = bytearray(content)
        other[len(content) - length + bit // 8] ^= 1 << bit % 8
        changed.append(bytes(other))
    return changed


@pytest.mark.parametrize("old", [False, True])
def test_no_bit_of_a_footer_may_differ(store: Path, tmp_path: Path, old: bool) -> None:
    if old:
        _without_footers(store)
    paths, info = _parts(store)
    part = info.parts[0]
    path = segment_file(store, part.name.join(["vectors/", ""]))
    files = FileCache(tmp_path / "cache")
    open_part(paths, part, format_of(info), files).close()
    for content in _changed_footers(path):
        path.write_bytes(content)
        with pytest.raises(Damaged) as caught:
            open_part(paths, part, None, files)
        assert caught.value.value == str(path)


def test_a_manifest_knows_the_footers_of_its_parts(store: Path) -> None:
    _, info = _parts(store)
    for part in info.parts:
        path = segment_file(store, f"vectors/{part.name}")
        assert part.footer_sha256 == digest_of_file(str(path))
        check_coverage(pq.read_metadata(path), path.stat().st_size)


def test_manifests_without_footers_stay_as_they_are(store: Path) -> None:
    _without_footers(store)
    _, info = _parts(store)
    assert b"footer" not in info.to_json()
    assert SegmentInfo.from_json(info.to_json(), "x") == info
    for path in store.glob("segments/*/vectors/*.json"):
        assert "footer_sha256" in path.read_text()


def test_an_old_part_is_read_whole_only_once(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_footers(store)
    paths, info = _parts(store)
    files = FileCache(tmp_path / "cache")
    open_part(paths, info.parts[0], None, files).close()
    monkeypatch.setattr("transforms.storage.filesystem.sha256", _never)
    open_part(paths, info.parts[0], None, files).close()


def _never(url: str) -> str:
    raise AssertionError(url)


def test_vectors_are_read_from_the_part_that_was_written(store: Path) -> None:
    paths, info = _parts(store)
    assert sum(len(chunk) for chunk in read_vectors(paths, info.parts)) == info.rows
    path = segment_file(store, f"vectors/{info.parts[0].name}")
    path.write_bytes(segment_file(store, f"vectors/{info.parts[1].name}").read_bytes())
    with pytest.raises(Damaged) as caught:
        list(read_vectors(paths, info.parts))
    assert caught.value.value == str(path)


def test_a_part_may_have_no_rows(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    add_segment(root, "a", {"d": 1}, parts=3)
    paths, info = _parts(Path(root))
    empty: list[PartInfo] = [part for part in info.parts if not part.rows]
    assert empty
    for part in empty:
        open_part(paths, part, format_of(info)).close()
