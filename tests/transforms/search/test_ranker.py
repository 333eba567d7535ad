"""Search by vectors, by words and by both, over segments, tombstones and filters."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.models import make_texts
from tests.support.raising import raises
from tests.support.stores import add_segment, make_vectors
from transforms.errors import BadInput
from transforms.search import ranker
from transforms.search.options import RankOptions, check_fusion
from transforms.search.ranking import Ranked
from transforms.search.results import Answers, Hit
from transforms.search.store import Store
from transforms.search.timing import Stages
from transforms.transactions.commits import commit_weight
from transforms.transactions.removal import remove_documents

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


class FixedEncoder:
    """An encoder that gives seeded vectors, whatever the texts are."""

    def encode_texts(self, texts: list[str], prompt: str) -> np.ndarray:
        return make_vectors(len(texts), seed=77)


def opened(store: str) -> Store:
    found = Store.open(store)
    found._reader.encoder = FixedEncoder  # type: ignore[assignment]
    return found


def expected(store: Store, question: str, vector: np.ndarray, options: RankOptions) -> list:
    """Every live passage by its score, the best of each document; and the scores."""
    live = store.live.mask(options.where)
    rows = np.arange(store.rows) if live is None else np.flatnonzero(live)
    cosines = store.dense.vectors(rows) @ vector
    words = store.lexical.scores(question, rows)
    spread, least = store.ranker.units().spread, store.ranker.units().words
    standard = (cosines - spread.mean) / (10 * spread.deviation)
    scores = {
        "dense": cosines,
        "lexical": words,
        "hybrid": store.weight(options.weight) * standard
        + (1 - store.weight(options.weight)) * words / max(words.max(initial=0), least),
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
    ranked = found.ranker.rank(QUESTIONS, vectors, options)
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
    asked, candidates = [], found.ranker.candidates

    def count(*given: Any) -> list[Ranked]:
        asked.append((len(given[0]), given[3]))
        return candidates(*given)

    monkeypatch.setattr(found.ranker, "candidates", count)
    whole = found.ranker.rank(QUESTIONS, vectors, options)
    monkeypatch.setattr(ranker, "_MOST_AT_ONCE", 200)
    asked.clear()
    sliced = found.ranker.rank(QUESTIONS, vectors, options)
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
    units = found.ranker.units()
    dense = (hit.dense - units.spread.mean) / (10 * units.spread.deviation)
    words = hit.lexical / max(best, units.words)
    assert hit.score == pytest.approx(0.7 * dense + 0.3 * words, abs=1e-5)
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
    rounds, candidates = [], found.ranker.candidates

    def counted(*given: Any) -> list[Ranked]:
        rounds.append(given)
        return candidates(*given)

    monkeypatch.setattr(found.ranker, "candidates", counted)
    stages = Stages()
    with stages.timed("total"):
        [hits] = found.search(["river"], 3, mode, stages=stages)
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
    assert (Store.open(url).weight(), Store.open(url, before.number).weight()) == (0.25, 0.7)
    assert commit_weight(url, 0.25, "test").number == made.number
    # It stays where documents come and go.
    remove_documents(url, TEXTS[1:2])
    add_segment(url, "later", {"one more": 1}, language="english")
    assert Store.open(url).weight() == 0.25
    assert Store.open(url).weight(0.5) == 0.5


@pytest.mark.parametrize("index", ["Flat", "HNSW8", None])
def test_the_spread_of_cosines_is_that_of_live_passages(tmp_path: Path, index: str | None) -> None:
    url = make_store(tmp_path / "store", index=index)
    found = Store.open(url)
    live = found.live.mask(None)
    assert live is not None
    rows = np.flatnonzero(live)
    assert len(rows) < found.rows
    every = found.dense.vectors(rows)
    units = every / np.linalg.norm(every, axis=1, keepdims=True)
    cosines = (units @ units.T)[np.triu_indices(len(units), 1)]
    spread = found.ranker.units().spread
    assert spread.mean == pytest.approx(cosines.mean(), abs=1e-3)
    assert spread.deviation == pytest.approx(cosines.std(), abs=1e-3)
    assert Store.open(url).ranker.units() == found.ranker.units()


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
        with pytest.raises(BadInput) as caught:
            found.search(["river"], 2, mode)
        assert (caught.value.option, caught.value.value) == ("mode", mode)
        assert f"albeam index {url} --lexical auto" in caught.value.remedy
    add_segment(url, "english", {"one": 1}, language="english")
    with pytest.raises(BadInput) as caught:
        Store.open(url).mode("hybrid")
    assert f"3 of the 4 segments of {url}" in caught.value.problem


def test_lexical_indexes_of_two_languages_are_not_one(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    add_segment(url, "a", {"one": 1}, language="english")
    add_segment(url, "b", {"two": 1}, language="german")
    assert Store.open(url).mode() == "dense"
    for mode in ("lexical", "hybrid"):
        # Before the model is loaded, which is nowhere.
        with raises(BadInput, "store", problem="english, german"):
            Store.open(url).search(["one"], mode=mode)


@pytest.mark.parametrize(
    "options",
    [{"mode": "both"}, {"k": 0}, {"fusion": "sum"}, {"weight": 1.5}, {"weight": float("nan")}],
)
def test_options_that_cant_be_used_are_refused(store: str, options: dict) -> None:
    with pytest.raises(BadInput) as caught:
        opened(store).search(["river"], **options)
    [(name, value)] = options.items()
    assert caught.value.option == name
    assert caught.value.value == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("questions", "thing"),
    [
        (["  "], "question 0"),
        ("river", "questions"),
        (["river", None], "question 1"),
        (["river", "caf\udce9"], "question 1"),
    ],
)
def test_questions_that_cant_be_asked_are_refused(store: str, questions: Any, thing: str) -> None:
    for mode in ("lexical", "dense"):
        with pytest.raises(BadInput) as caught:
            opened(store).search(questions, mode=mode)
        assert caught.value.option == thing


def test_vectors_are_ranked_in_mode_dense_alone(store: str) -> None:
    found, vectors = Store.open(store), make_vectors(len(QUESTIONS), seed=77)
    by_text = opened(store).search(QUESTIONS, 4, "dense")
    assert found.search(vectors, 4) == by_text
    assert found.search(vectors, 4, "dense") == by_text
    assert found.search(vectors, 4).to_arrow().column("question").to_pylist() == [""] * 20
    # Texts in a numpy array are texts.
    assert opened(store).search(np.array(QUESTIONS), 4, "dense") == by_text
    for mode in ("hybrid", "lexical"):
        with pytest.raises(BadInput) as caught:
            found.search(vectors, 4, mode)
        assert (caught.value.option, caught.value.value) == ("mode", mode)


def test_search_takes_each_rank_option_by_name() -> None:
    parameters = inspect.signature(Store.search).parameters
    for field in fields(RankOptions):
        assert field.name in parameters
        if field.name != "mode":
            assert parameters[field.name].default == field.default


@pytest.mark.parametrize(
    ("options", "modes", "option"),
    [
        (RankOptions(weight=0.0), ("dense",), "weight"),
        (RankOptions(weight=0.5), ("dense", "lexical"), "weight"),
        (RankOptions(weight=0.5, fusion="rrf"), ("hybrid",), "weight"),
        (RankOptions(fusion="rrf"), ("lexical",), "fusion"),
        (RankOptions(weight=0.5), ("hybrid", "dense"), None),
        (RankOptions(fusion="rrf"), ("hybrid",), None),
        (RankOptions(), ("dense",), None),
    ],
)
def test_options_of_fusion_without_effect_are_refused(
    options: RankOptions, modes: tuple[str, ...], option: str | None
) -> None:
    if option is None:
        check_fusion(options, modes)
        return
    with pytest.raises(BadInput) as caught:
        check_fusion(options, modes)
    assert caught.value.option == option


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
