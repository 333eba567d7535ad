"""Index files that someone else made: none reaches FAISS before it is checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pipeline.maintenance import verify
from tests.support.damage import rewrite_manifest, segment_file, vouch_for_index
from tests.support.stores import DIM, add_segment, found, make_vectors
from transforms.catalog.factory_text import factory_problem
from transforms.catalog.layout import SegmentPaths
from transforms.errors import Damaged
from transforms.index.build import build_index
from transforms.index.options import IndexOptions
from transforms.index.vector.faiss_factory import check_factory
from transforms.index.vector.faiss_files import read_index, write_index
from transforms.index.vector.faiss_search import search_index
from transforms.index.vector.faiss_training import fill_index, train_index
from transforms.index.vector.plan import IndexContext, reusable_indexes
from transforms.search.store import Store

#: Every type of index, of codes and of transforms that a factory string may ask for.
FACTORIES = (
    *("Flat", "SQ8", "SQ4", "SQ6", "SQfp16", "SQbf16", "SQ8_direct", "SQ8_direct_signed", "PQ4x4"),
    *("PQ4", "PQ8x4fs", "PQ8x4fs_64", "RQ2x4", "LSQ2x4", "PRQ2x2x4", "PLSQ2x2x4", "RQ4x4fs"),
    *("LSQ4x4fs", "PRQ2x2x4fs", "PLSQ2x2x4fs", "RaBitQ", "RaBitQ4", "RaBitQfs", "RaBitQfs4"),
    *("EDEN", "EDEN4", "EDEN2BIASED", "HNSW8", "HNSW8_SQ8", "IVF4,Flat", "IVF4,FlatPanorama4"),
    *("IVF4,SQ8", "IVF4,PQ4x4", "IVF4,PQ8x4fs", "IVF4,PQ8x4fsr", "IVF4,RQ2x4", "IVF4,LSQ2x4"),
    *("IVF4,PRQ2x2x4", "IVF4,PLSQ2x2x4", "IVF4,RaBitQ", "IVF4,RaBitQ4", "IVF4,RaBitQfs"),
    *("IVF4,RaBitQfs4", "IVF4,EDEN2", "IVF4_HNSW8,Flat", "IVF16(PQ4x4),Flat", "IVF200,SQ8"),
    *("IVF16(IVF2,Flat),Flat", "IVF16(PCA8,SQ8),Flat", "PCA8,Flat", "PCAWR8,IVF4,Flat", "RR8,SQ8"),
    *("RR16,IVF4,PQ8x4fsr", "HR32,Flat", "L2norm,Flat", "ITQ,Flat", "ITQ8,Flat", "OPQ4,PQ4"),
    *("OPQ4_8,IVF4,PQ4x4", "Pad32,Flat", "Pad32,L2norm,PCA8,IVF4,SQ8", "SQ8,RFlat"),
)
WIDTH = 16


@pytest.mark.parametrize("factory", FACTORIES)
def test_what_faiss_writes_passes_the_check_and_no_other_length_does(
    factory: str, tmp_path: Path
) -> None:
    check_factory(factory, WIDTH)
    vectors, path = make_vectors(600, 1, WIDTH), tmp_path / "index.faiss"
    index = train_index(factory, WIDTH, vectors)
    write_index(index, str(path))
    index = read_index(path, factory, WIDTH, 0, mapped=False)
    fill_index(index, 333, [vectors[:100], vectors[100:333]])
    before = search_index(index, vectors[:5], 10)[1]
    write_index(index, str(path))
    opened = read_index(path, factory, WIDTH, 333)
    np.testing.assert_array_equal(search_index(opened, vectors[:5], 10)[1], before)
    del opened
    whole = path.read_bytes()
    for content in (whole + b"\0", whole + whole, whole[:-1], whole[: len(whole) // 2]):
        other = tmp_path / "other.faiss"
        other.unlink(missing_ok=True)
        other.write_bytes(content)
        with pytest.raises(Damaged) as caught:
            read_index(other, factory, WIDTH, 333)
        assert (caught.value.option, caught.value.value) == ("index file", str(other))


def store_of(folder: Path, factory: str) -> Path:
    store = folder / "store"
    add_segment(str(store), "one", {f"a{n:03d}": 1 for n in range(200)}, index=factory)
    return store


def changed(store: Path, pattern: str, change: Callable[[Any], None]) -> Path:
    """Change an index with FAISS, and make the manifest vouch for it."""
    path = segment_file(store, f"index/{pattern}")
    faiss.set_deserialization_vector_byte_limit(1 << 40)
    index = faiss.read_index(str(path))
    change(index)
    faiss.write_index(index, str(path))
    vouch_for_index(store, path)
    return path


def uses(store: Path) -> list[Callable[[], object]]:
    """What opens the index files of a store."""
    return [lambda: found(str(store)), lambda: verify.run(str(store)), lambda: embed_more(store)]


def embed_more(store: Path) -> None:
    """Build the index of new rows as an ``embed`` does: with the older segment's trained index."""
    [info] = Store.open(str(store)).segments
    paths = SegmentPaths(str(store), info.name)
    context = IndexContext(reusable_indexes([info]))
    assert info.index is not None
    build_index(paths, info.parts, DIM, IndexOptions(info.index.factory, 0.5), context)


def refuses(use: Callable[[], object], path: Path, problem: str) -> None:
    with pytest.raises(Damaged) as caught:
        use()
    assert problem in str(caught.value)
    assert path.name in str(caught.value) or "files/" in str(caught.value)


@pytest.mark.parametrize("pattern", ["trained-*", "shard-*"])
def test_lists_in_another_file_are_refused_and_that_file_stays_as_it_is(
    tmp_path: Path, pattern: str
) -> None:
    store, outside = store_of(tmp_path, "IVF4,SQ8"), tmp_path / "outside"
    kept: list[Any] = []

    def move(index: Any) -> None:
        ivf: Any = faiss.extract_index_ivf(index)
        lists = faiss.OnDiskInvertedLists(ivf.nlist, ivf.code_size, str(outside))
        if ivf.ntotal:
            lists.merge_from_1(ivf.invlists)
        ivf.replace_invlists(lists)
        kept.append(lists)

    path = changed(store, pattern, move)
    before = b"the user's own" * 100
    outside.write_bytes(before)
    search, check, embed = uses(store)
    for use in (check, embed) if pattern == "trained-*" else (search, check):
        refuses(use, path, "keeps its lists in another file")
        assert outside.read_bytes() == before


def test_a_graph_that_links_to_rows_that_are_not_on_the_level_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, "HNSW4")

    def link_to_last(index: Any) -> None:
        links = faiss.vector_to_array(index.hnsw.neighbors)
        links[:] = index.ntotal - 1
        faiss.copy_array_to_vector(links, index.hnsw.neighbors)

    path = changed(store, "shard-*", link_to_last)
    for use in uses(store)[:2]:
        refuses(use, path, "has a link on level 1 to a row that is not on it")


def test_lists_with_other_rows_are_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, "IVF4,SQ8")

    def repeat(index: Any) -> None:
        size = index.invlists.list_size(0)
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(0), size)
        ids[1] = ids[0]

    path = changed(store, "shard-*", repeat)
    for use in uses(store)[:2]:
        refuses(use, path, "has a row twice in its lists")


@pytest.mark.parametrize("content", [lambda whole: whole + bytes(64), lambda whole: whole[:-64]])
def test_an_index_with_more_or_less_than_its_lists_is_refused(
    tmp_path: Path, content: Callable[[bytes], bytes]
) -> None:
    store = store_of(tmp_path, "IVF4,SQ8")
    path = segment_file(store, "index/shard-*")
    path.write_bytes(content(path.read_bytes()))
    vouch_for_index(store, path)
    for use in uses(store)[:2]:
        refuses(use, path, "end")


@pytest.mark.parametrize(
    "factory",
    [
        *("HNSW1", "HNSW0", "IVF1_HNSW1,Flat", "Flat" * 25_000, "IVF999999999,Flat", "NSG0"),
        *("IVF4096k,Flat", "RQ4x16", "PQ2x24", "Pad16384,PQ8x16", "Flat;", "IVF300,Flat"),
        *("Nonsense", "LSH"),
    ],
)
def test_a_factory_string_in_a_manifest_is_checked_like_an_option(
    tmp_path: Path, factory: str
) -> None:
    store = store_of(tmp_path, "HNSW8")
    rewrite_manifest(store, lambda value: value["index"].update(factory=factory))
    for use in uses(store)[:2]:
        with pytest.raises(Damaged) as caught:
            use()
        assert factory[:20] in str(caught.value)
        assert "one" in str(caught.value)
        assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "factory", ["IVF65536_HNSW32,PQ48x4fsr", "OPQ64_256,IVF262144,PQ64x4fs", "RR384,IVF1M,PQ96"]
)
def test_large_indexes_that_make_sense_are_possible(factory: str) -> None:
    assert factory_problem(factory, 768) == ""


def test_a_check_that_passed_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.index.vector import faiss_files

    store, checked = store_of(tmp_path, "IVF4,SQ8"), []
    real = faiss_files.check_layout
    monkeypatch.setattr(
        faiss_files, "check_layout", lambda *given: (checked.append(given[2]), real(*given))
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    first = found(str(store))
    assert checked == [200]
    assert found(str(store)) == first
    assert checked == [200]
