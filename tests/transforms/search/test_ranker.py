"""Search by vectors, by words and by both, over segments, tombstones and filters."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.models import make_texts
from tests.support.stores import add_segment, make_vectors
from transforms.errors import BadInput
from transforms.search import ranker
from transforms.search.options import RankOptions
from transforms.search.ranker import Ranked, candidates, rank
from transforms.search.results import Answers, Hit
from transforms.search.store import Store
from transforms.search.timing import Stages
from transforms.transactions.commits import commit_weight, remove_documents

TEXTS = list(dict.fromkeys(make_texts(90, seed=3, longest=12)))
QUESTIONS = ["river stone", "the summer market", "zzz", "albeam", "window window music"]


def make_store(root: Path, *, index: str | None = "Flat", language: str | None = "english") -> str:
    """Three segments; every third document is deleted."""
    store = str(root)
    for number in range(3):
        mine = {text: 1 + place % 2 for place, text in enumerate(TEXTS[number::3])}
        add_segment(store, f"s{number}", mine, parts=2, index=index, seed=number, language=language)
    remove_documents(store, TEXTS[::4])
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_store(tmp_path_factory.mktemp("stores") / "store")


class Told:
    """An encoder that gives the vectors that it was told."""

    def encode_texts(self, texts: list[str], prompt: str) -> np.ndarray:
        return make_vectors(len(texts), seed=77)


def opened(store: str) -> Store:
    found = Store.open(store)
    found._encoder = Told()  # type: ignore[assignment]
    return found


def expected(store: Store, question: str, vector: np.ndarray, options: RankOptions) -> list:
    """Every live passage by its score, the best of each document; and the scores."""
    live = store.live_rows(options.where)
    rows = np.arange(store.rows) if live is None else np.flatnonzero(live)
    cosines = store.dense.vectors(rows) @ vector
    words = store.lexical.scores(question, rows)
    best = words.max(initial=0) or 1.0
    scores = {
        "dense": cosines,
        "lexical": words,
        "hybrid": store.weight(options.weight) * cosines
        + (1 - store.weight(options.weight)) * words / best,
    }[options.mode]
    found: dict[str, tuple[float, int]] = {}
    [names] = store.document_ids(rows[None])
    for place in np.lexsort((rows, -scores)):
        if options.mode != "lexical" or scores[place] > 0:
            found.setdefault(names[place], (float(scores[place]), int(rows[place])))
    return list(found.values())[: options.k]


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("where", [None, "year < 9", "year = 1"])
@pytest.mark.parametrize("k", [1, 5, 80])
def test_the_best_documents_are_those_of_a_full_ranking(
    store: str, mode: str, where: str | None, k: int
) -> None:
    found = Store.open(store)
    vectors = make_vectors(len(QUESTIONS), seed=77)
    options = RankOptions(k, mode, where)
    ranked = rank(found, QUESTIONS, vectors, options)
    for question, vector, each in zip(QUESTIONS, vectors, ranked, strict=True):
        best = expected(found, question, vector, options)
        np.testing.assert_allclose(each.scores, [score for score, _ in best], atol=1e-5)
        assert each.rows.tolist() == [row for _, row in best]


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_no_more_is_fetched_than_there_are_documents_and_not_of_all_questions_at_once(
    store: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Store.open(store)
    vectors = make_vectors(len(QUESTIONS), seed=77)
    options = RankOptions(1_000, mode)
    asked = []

    def count(*given: Any) -> list[Ranked]:
        asked.append((len(given[1]), given[4]))
        return candidates(*given)

    monkeypatch.setattr(ranker, "candidates", count)
    whole = rank(found, QUESTIONS, vectors, options)
    monkeypatch.setattr(ranker, "_MOST_AT_ONCE", 200)
    asked.clear()
    sliced = rank(found, QUESTIONS, vectors, options)
    assert [each.rows.tolist() for each in sliced] == [each.rows.tolist() for each in whole]
    assert all(many == 1 or many * wanted <= 200 for many, wanted in asked)
    assert len(asked) > 1
    # One question in the dense half has all documents from its first, wide enough answer.
    live = found.snapshot.documents
    assert {len(each.rows) for each in whole} == {live} or mode == "lexical"


def test_hits_say_both_scores_and_come_as_tables(store: str) -> None:
    found = opened(store)
    answers = found.search(QUESTIONS, 4)
    assert [len(hits) for hits in answers] == [4] * len(QUESTIONS)
    hit = answers[0][0]
    assert hit.dense is not None
    assert hit.lexical is not None
    best = found.search(QUESTIONS, 1, "lexical")[0][0].score
    assert hit.score == pytest.approx(0.6 * hit.dense + 0.4 * hit.lexical / best, abs=1e-5)
    assert all(hit.lexical is None for hit in found.search(QUESTIONS, 2, "dense")[0])
    assert all(hit.dense is None for hit in found.search(QUESTIONS, 2, "lexical")[0])
    # Nothing shares a word with this one.
    assert found.search(["zzz"], 2, "lexical") == [[]]
    table = answers.to_arrow()
    assert table.num_rows == 4 * len(QUESTIONS)
    assert table.column("question").to_pylist()[::4] == QUESTIONS
    assert table.schema.field("year").type == pa.int16()
    assert table.column("score").to_pylist()[0] == pytest.approx(hit.score)
    frame = answers.to_pandas()
    assert list(frame.columns) == table.column_names
    assert found.search([], 3).to_arrow().num_rows == 0


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_stages_are_parts_of_the_whole_however_often_a_search_asks(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "store")
    # One document has so many passages that one list of candidates does not do.
    add_segment(url, "s", {"river a": 300, "river b": 1, "river c": 1}, language="english")
    found = opened(url)
    rounds = []

    def counted(*given: Any) -> list[Ranked]:
        rounds.append(given)
        return candidates(*given)

    monkeypatch.setattr(ranker, "candidates", counted)
    stages = Stages()
    with stages.timed("total"):
        [hits] = found.search_as(["river"], RankOptions(3, mode), stages)
    assert len(hits) == 3
    assert len(rounds) > 1
    halves = {"dense": ["dense"], "lexical": ["lexical"], "hybrid": ["dense", "lexical", "fuse"]}
    names = [*([] if mode == "lexical" else ["encode"]), *halves[mode], "fetch"]
    assert list(stages.seconds) == [*names, "total"]
    assert 0 < sum(stages.seconds[name] for name in names) <= stages.seconds["total"]


def test_metadata_with_the_name_of_a_field_is_told_apart_in_a_table() -> None:
    columns = pa.schema([("document_id", pa.string()), ("rank", pa.int16()), ("lang", pa.string())])
    hits = [[Hit(1, 0.5, "d", 0, 0, 5, "river", {"rank": 7, "lang": "en"})], []]
    table = Answers(hits, ["one", "two"], columns).to_arrow()
    assert table.column_names[-2:] == ["metadata.rank", "lang"]
    [row] = table.to_pylist()
    assert (row["question"], row["rank"], row["metadata.rank"], row["lang"]) == ("one", 1, 7, "en")
    assert (row["dense"], row["lexical"]) == (None, None)
    assert table.schema.field("metadata.rank").type == pa.int16()


def test_fusion_and_weight_are_as_asked(store: str) -> None:
    found = opened(store)
    [by_words] = found.search(QUESTIONS[:1], 5, "hybrid", weight=0.0)
    [words] = found.search(QUESTIONS[:1], 5, "lexical")
    assert [hit.document_id for hit in by_words] == [hit.document_id for hit in words]
    [by_vectors] = found.search(QUESTIONS[:1], 5, "hybrid", weight=1.0)
    [vectors] = found.search(QUESTIONS[:1], 5, "dense")
    assert [hit.document_id for hit in by_vectors] == [hit.document_id for hit in vectors]
    [ranks] = found.search(QUESTIONS[:1], 5, "hybrid", fusion="rrf")
    assert 1 / 70 < ranks[0].score <= 2 / 61


@pytest.mark.parametrize("mode", ["dense", "hybrid", "lexical"])
def test_nearly_identical_passages_are_folded_where_that_is_asked(
    tmp_path: Path, mode: str
) -> None:
    url = str(tmp_path / "store")
    for name in ("river", "stone"):
        # The same vectors twice, of other documents.
        documents = {f"{name} {place} window": 1 for place in range(5)}
        add_segment(url, name, documents, seed=5, language="english")
    found = opened(url)
    [every] = found.search(["window"], 10, mode)
    [some] = found.search(["window"], 10, mode, diverse=True)
    assert len(every) == 10
    assert len(some) == 5
    first = {hit.document_id.split()[1]: hit.document_id for hit in reversed(every)}
    assert {hit.document_id for hit in some} == set(first.values())
    assert [hit.rank for hit in some] == [1, 2, 3, 4, 5]
    assert len(found.search(["window"], 3, mode, diverse=True)[0]) == 3


def test_a_learnt_weight_is_the_default_of_its_snapshot(tmp_path: Path) -> None:
    url = make_store(tmp_path / "store")
    before = Store.open(url).snapshot
    made = commit_weight(url, 0.25, "test")
    assert (Store.open(url).weight(), Store.open(url, before.number).weight()) == (0.25, 0.6)
    assert commit_weight(url, 0.25, "test").number == made.number
    # It stays where documents come and go.
    remove_documents(url, TEXTS[1:2])
    add_segment(url, "later", {"one more": 1}, language="english")
    assert Store.open(url).weight() == 0.25
    assert Store.open(url).weight(0.5) == 0.5


@pytest.mark.parametrize("index", ["HNSW8", None])
def test_vectors_are_found_whatever_the_index(tmp_path: Path, store: str, index: str) -> None:
    other = Store.open(make_store(tmp_path / "store", index=index))
    rows = np.array([40, 3, 3, 0, other.rows - 1])
    np.testing.assert_allclose(
        other.dense.vectors(rows), Store.open(store).dense.vectors(rows), atol=1e-3
    )


def test_a_store_without_a_lexical_index_says_how_to_get_one(tmp_path: Path) -> None:
    url = make_store(tmp_path / "store", language=None)
    found = opened(url)
    assert found.mode() == "dense"
    assert found.search(["river"], 2)[0][0].lexical is None
    for mode in ("hybrid", "lexical"):
        with pytest.raises(BadInput, match=f"albeam index {url} --lexical auto"):
            found.search(["river"], 2, mode)
    add_segment(url, "english", {"one": 1}, language="english")
    with pytest.raises(BadInput, match="3 of its 4 segments"):
        Store.open(url).mode("hybrid")


def test_lexical_indexes_of_two_languages_are_not_one(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    add_segment(url, "a", {"one": 1}, language="english")
    add_segment(url, "b", {"two": 1}, language="german")
    assert Store.open(url).mode() == "dense"
    for mode in ("lexical", "hybrid"):
        # Before the model is loaded, which is nowhere.
        with pytest.raises(BadInput, match="english, german"):
            Store.open(url).search(["one"], mode=mode)


@pytest.mark.parametrize(
    "options",
    [{"mode": "both"}, {"k": 0}, {"fusion": "sum"}, {"weight": 1.5}, {"weight": float("nan")}],
)
def test_options_that_cant_be_used_are_refused(store: str, options: dict) -> None:
    with pytest.raises(BadInput, match=next(iter(options))):
        opened(store).search(["river"], **options)
    with pytest.raises(BadInput, match="question 0 is blank"):
        opened(store).search(["  "], mode="lexical")
    with pytest.raises(BadInput, match="are one text, 'river'; give a list"):
        opened(store).search("river")
    with pytest.raises(BadInput, match="question 1 is None and no text"):
        opened(store).search(["river", None])  # type: ignore[list-item]


def test_questions_of_every_kind_are_answered(store: str) -> None:
    found = opened(store)
    long = " ".join(["river"] * 5_000 + TEXTS[:200])
    for question in ("the", long, "河流", "النهر", 'text:"river" * [a TO b] (NOT'):
        for mode in ("hybrid", "lexical", "dense"):
            [hits] = found.search([question], 3, mode)
            assert len(hits) <= 3
            if mode != "lexical":
                assert len(hits) == 3


def test_ranked_takes_places() -> None:
    ranked = Ranked(np.array([4, 5]), np.array([1, 0.5], np.float32), None, None)
    assert ranked.take([1]).rows.tolist() == [5]
    assert ranked.take([]).rows.tolist() == []
