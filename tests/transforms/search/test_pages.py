"""Pages are slices of one ranking, whatever is asked for with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models import make_texts
from tests.support.stores import add_segment, make_vectors
from transforms.errors import BadInput
from transforms.search import dense, ranker
from transforms.search.options import RankOptions
from transforms.search.ranking import Ranked
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents

WORDS = ["river", "stone", "summer market", "window", "the village music", "river stone window"]
QUESTIONS = [*WORDS, "zzz", *make_texts(3, seed=4, longest=8)]
VECTORS = make_vectors(len(QUESTIONS), seed=77)


def make_store(root: Path, index: str | None, several: bool) -> Store:
    """Return a store with many equal texts and vectors, in segments with several kinds of index."""
    url = str(root / "store")
    texts = make_texts(24, seed=3, longest=6)
    for number, kind in enumerate((index, index, "Flat", None)):
        # Each text stands in several documents: these differ by a word that no question has.
        documents = {
            f"{text} id{number}{place:03d}": 1 + several * (place % 3)
            for place, text in enumerate(texts * 3)
        }
        # The same seed: the vectors come again in each segment.
        add_segment(url, f"s{number}", documents, parts=3, index=kind, seed=5, language="english")
    remove_documents(url, [f"{text} id1{place:03d}" for place, text in enumerate(texts[::4])])
    return Store.open(url)


@pytest.fixture(
    scope="module", params=[("Flat", False), ("Flat", True), ("IVF8,SQ8", True), (None, True)]
)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("pages"), *request.param)


def ranked(store: Store, **options: Any) -> list[Ranked]:
    places = options.pop("questions", range(len(QUESTIONS)))
    asked = [QUESTIONS[place] for place in places]
    return store.ranker.rank(asked, VECTORS[list(places)], RankOptions(**options))


def same(one: Ranked, other: Ranked) -> bool:
    """Whether rows and scores are equal to the last bit."""
    pairs = ((one.rows, other.rows), (one.scores, other.scores), (one.dense, other.dense))
    return all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None)


WAYS = [
    {"mode": "dense"},
    {"mode": "dense", "diverse": True},
    {"mode": "lexical"},
    {"mode": "hybrid"},
    {"mode": "hybrid", "fusion": "rrf"},
    {"mode": "hybrid", "diverse": True},
    {"mode": "hybrid", "where": "year % 3 = 1"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_pages_are_slices_of_the_whole_ranking(store: Store, way: dict[str, Any]) -> None:
    whole = ranked(store, k=10_000, **way)
    for place, every in enumerate(whole):
        [names] = store.document_ids(every.rows[None])
        assert len(set(names)) == len(names)
        assert (np.diff(every.scores) <= 0).all()
        page, shown = 0, []
        while page == 0 or len(shown) == page * 61:
            [found] = ranked(store, questions=[place], k=61, offset=page * 61, **way)
            shown += found.rows.tolist()
            page += 1
        assert shown == every.rows.tolist()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
@settings(max_examples=5, deadline=None)
@given(
    k=st.integers(1, 300),
    offset=st.integers(0, 300),
    questions=st.lists(st.integers(0, len(QUESTIONS) - 1), min_size=1, max_size=30),
)
def test_a_page_does_not_depend_on_what_else_is_asked(
    store: Store, way: dict[str, Any], k: int, offset: int, questions: list[int]
) -> None:
    many = ranked(store, questions=questions, k=k, offset=offset, **way)
    [first] = ranked(store, questions=questions[:1], k=k + offset, **way)
    assert same(many[0], first.take(range(min(offset, len(first.rows)), len(first.rows))))
    for place, found in enumerate(many):
        assert same(found, many[questions.index(questions[place])])


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_equal_passages_have_equal_scores_in_the_order_of_their_rows(
    tmp_path: Path, mode: str
) -> None:
    url = str(tmp_path / "store")
    for number, kind in enumerate(("SQ8", "Flat", None, "SQ8")):
        # All texts match in the same way.
        documents = {f"river {number}{place:03d}": 1 for place in range(90)}
        add_segment(url, f"s{number}", documents, parts=2, index=kind, seed=5, language="english")
    found = Store.open(url)
    by_rank: dict[float, list[int]] = {}
    [every] = found.ranker.rank(["river"], VECTORS[:1], RankOptions(360, mode))
    for row, score in zip(every.rows.tolist(), every.scores.tolist(), strict=True):
        by_rank.setdefault(score, []).append(row)
    assert all(rows == sorted(rows) for rows in by_rank.values())
    if mode == "lexical":
        assert every.rows.tolist() == list(range(360))
    elif mode == "dense":
        # The four segments have the same vectors.
        assert all(len(rows) % 4 == 0 for rows in by_rank.values())


def test_deeper_searches_only_continue_a_ranking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_store(tmp_path, "IVF8,SQ8", several=True)
    monkeypatch.setattr(ranker, "_FIRST_DEPTH", 6)
    monkeypatch.setattr(dense, "_FIRST_DEPTH", 3)
    for way in WAYS:
        whole = ranked(found, k=500, **way)
        for k in (1, 3, 4, 13, 60):
            for page, every in zip(ranked(found, k=k, **way), whole, strict=True):
                assert same(page, every.take(range(min(k, len(every.rows)))))


def test_hits_of_a_page_are_numbered_from_its_offset(store: Store) -> None:
    [whole] = store.search(VECTORS[:1], 30)
    [page] = store.search(VECTORS[:1], 10, offset=15)
    assert page == whole[15:25]
    assert [hit.rank for hit in page] == list(range(16, 26))
    assert store.search(VECTORS[:2], 10, offset=10_000) == [[], []]
    with pytest.raises(BadInput) as caught:
        store.search(VECTORS[:1], 10, offset=-1)
    assert caught.value.option == "offset"
