"""Which index is chosen, and what is refused."""

import re

import pytest

from transforms.errors import BadInput
from transforms.index.options import IndexOptions
from transforms.index.vector.selection import check_index_options, choose_index, lists_for

DIM = 384


@pytest.mark.parametrize(
    ("option", "rows", "memory", "factory"),
    [
        ("auto", 10, 8 << 30, "Flat"),
        ("auto", 200_000, 8 << 30, "Flat"),
        ("auto", 900_000, 8 << 30, "HNSW32"),
        ("auto", 900_000, 1 << 30, "RR384,IVF1024,PQ128x4fsr"),
        ("auto", 10_000_000, 3 << 30, "RR384,IVF4096,PQ128x4fsr"),
        ("auto", 10_000_000, 600 << 20, "RR384,IVF4096,PQ64x4fsr"),
        ("flat", 10_000_000, 1, "Flat"),
        ("FLAT", 10, 1, "Flat"),
        ("hnsw", 10, 1, "HNSW32"),
        ("ivf", 1_000_000, 1, "IVF4096,SQ8"),
        ("ivfpq", 1_000_000, 8 << 30, "RR384,IVF2048,PQ128x4fsr"),
        ("ivf", 20, 8 << 30, "Flat"),
        ("IVF7,Flat", 1_000, 8 << 30, "IVF7,Flat"),
    ],
)
def test_the_index_fits_rows_and_memory(option: str, rows: int, memory: int, factory: str) -> None:
    choice = choose_index(IndexOptions(option, memory=memory), DIM, rows)
    assert choice.factory == factory
    assert choice.why.startswith(f"{factory} for {rows:,} × 384: ")


def test_a_recall_of_one_is_exact_search() -> None:
    choice = choose_index(IndexOptions(recall_target=1), DIM, 900_000)
    assert choice.factory == "Flat"
    assert "exact, as a recall of 1 was asked for" in choice.why


def test_no_index_and_why() -> None:
    assert choose_index(IndexOptions("none"), DIM, 10).factory is None
    why = choose_index(IndexOptions("auto", memory=1 << 20), DIM, 10_000_000).why
    assert "more than the 1 MB of --index-memory" in why
    exact = choose_index(IndexOptions("flat"), DIM, 10_000_000).why
    assert exact == (
        "Flat for 10,000,000 × 384: 15.4 GB, exact, each search reads all of it, "
        "more than the 8.0 GB of --index-memory"
    )
    assert (
        "768 MB of float16 vectors on disk" in choose_index(IndexOptions("ivf"), DIM, 1_000_000).why
    )


@pytest.mark.parametrize(
    ("option", "rows", "memory", "why"),
    [
        ("auto", 10_000, 8e9, ": 15 MB, exact, as it is at most 320 MB$"),
        ("auto", 900_000, 8e9, ": 1.6 GB, a graph, as there are at most 1,000,000 rows, and 691"),
        ("auto", 900_000, 1e9, ", lists, as a graph would take 1.6 GB of --index-memory 1.0 GB, "),
        ("auto", 2_000_000, 8e9, ", lists, as there are more than 1,000,000 rows, "),
        (
            "auto",
            9_000_000,
            5e8,
            "PQ64x4fsr for .* 360 MB, lists, as there are more than 1,000,000",
        ),
        ("hnsw", 900_000, 8e9, ": 1.6 GB, and 691 MB of float16"),
        ("ivfpq", 900_000, 8e9, ": 65 MB, and 691 MB of float16"),
        ("IVF9,PQ96x4", 900_000, 8e9, ": 50 MB, and 691 MB of float16"),
    ],
)
def test_why_an_index_was_chosen(option: str, rows: int, memory: float, why: str) -> None:
    assert re.search(why, choose_index(IndexOptions(option, memory=int(memory)), DIM, rows).why)


@pytest.mark.parametrize(
    ("dim", "memory", "factory"),
    [
        (300, 8e9, "PQ100"), (300, 500e6, "PQ50"), (300, 1, "PQ25"), (100, 8e9, "PQ25"),
        (100, 190e6, "PQ20"), (97, 8e9, "SQ8"), (3, 8e9, "SQ8"),
    ],
)  # fmt: skip
def test_product_codes_have_any_width_that_divides_the_dimensions(
    dim: int, memory: float, factory: str
) -> None:
    choice = choose_index(IndexOptions("ivfpq", memory=int(memory)), dim, 10_000_000)
    codes = f"RR{dim},IVF4096,{factory}x4fsr"
    assert choice.factory == (codes if "PQ" in factory else f"IVF16384,{factory}")
    assert ("can't be cut into equal product codes" in choice.why) == (factory == "SQ8")


def test_the_reason_gives_the_time_to_build_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert ", about 4 minutes to build, " in choose_index(IndexOptions("hnsw"), DIM, 1_000_000).why
    assert ", about 38 hours to build, " in choose_index(IndexOptions("hnsw"), DIM, 600_000_000).why


def test_a_store_that_was_emptied_may_be_given_any_index() -> None:
    # It raises BadInput for an index that needs more rows than there are.
    check_index_options(IndexOptions("IVF64,Flat"), DIM, 0)


@pytest.mark.parametrize("option", ["Nonsense", "IVF64,Flat"])
def test_what_can_not_be_built_is_refused(option: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_index_options(IndexOptions(option), DIM, 63)
    assert (caught.value.option, caught.value.value) == ("index", option)
    # As many lists as rows can be built.
    check_index_options(IndexOptions("IVF64,Flat"), DIM, 64)


def test_lists_have_rows_enough_to_be_trained_on() -> None:
    for rows in (0, 1, 77, 78, 1_000, 50_000, 1_000_000, 10_000_000):
        lists = lists_for(rows)
        assert lists == 1 or lists * 39 <= rows
    assert [lists_for(n) for n in (1_000, 1_000_000, 10_000_000)] == [16, 4096, 16384]
    assert [lists_for(n, 1.5) for n in (1_000, 1_000_000, 10_000_000)] == [16, 2048, 4096]
