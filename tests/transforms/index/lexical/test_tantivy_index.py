"""The lexical index: terms, BM25 over many pieces, filters."""

import json
import math
import uuid
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models import make_texts
from transforms.errors import Damaged
from transforms.index.lexical import tantivy_index, word_ranking
from transforms.index.lexical.analyzer import Analyzer
from transforms.index.lexical.tantivy_files import OpenPiece, compose_index, write_index
from transforms.index.lexical.tantivy_index import LexicalIndex

SYNTAX = 'text:"river" OR (stone AND NOT *) [a TO b] ~2 ^3 +x -y \\ {!} /a.*/'


def build(folder: Path, texts: list[str], cuts: list[int], language: str = "english"):
    """An index of texts that are cut into shards at these places."""
    pieces = []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        place = folder / str(number)
        place.mkdir(parents=True)
        for piece in write_index(place, texts[start:stop], language):
            pieces.append(OpenPiece(piece.rows, start, piece.files))
    return LexicalIndex(pieces, language)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lexical")


@pytest.fixture(scope="module")
def whole(folder: Path) -> LexicalIndex:
    return build(folder / "whole", make_texts(200), [0, 200])


def bm25(texts: list[str], question: str) -> np.ndarray:
    """The formula (Robertson and Zaragoza, 2009) with k1 1.2, b 0.75; exact up to 40 terms."""
    analyzer = Analyzer("english")
    documents = [Counter(analyzer.terms(text)) for text in texts]
    mean = sum(document.total() for document in documents) / len(documents)
    scores = np.zeros(len(texts))
    for term, asked in Counter(analyzer.terms(question)).items():
        held = sum(term in document for document in documents)
        idf = math.log(1 + (len(texts) - held + 0.5) / (held + 0.5))
        for row, document in enumerate(documents):
            count = document[term]
            norm = 1.2 * (1 - 0.75 + 0.75 * document.total() / mean)
            scores[row] += asked * idf * count * 2.2 / (count + norm)
    return scores


def test_scores_are_those_of_the_formula(tmp_path: Path) -> None:
    texts = make_texts(60, longest=30)
    index = build(tmp_path, texts, [0, 20, 60])
    for question in ("river stone", "summer in the village", "number number paper"):
        expected = bm25(texts, question)
        scores, rows = index.search(question, 60)
        assert len(rows) == (expected > 0).sum()
        np.testing.assert_allclose(scores, expected[rows], rtol=1e-5)
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(index.scores(question, np.arange(60)), expected, rtol=1e-5)


@settings(max_examples=12, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 199), max_size=4, unique=True),
    seed=st.integers(0, 99),
    k=st.integers(1, 60),
    share=st.sampled_from((None, 0.9, 0.2, 0.02)),
)
def test_a_score_does_not_depend_on_where_a_passage_lies(
    cuts: list[int],
    seed: int,
    k: int,
    share: float | None,
    whole: LexicalIndex,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cut = build(tmp_path_factory.mktemp("cut"), make_texts(200), [0, *sorted(cuts), 200])
    [question] = make_texts(1, seed=seed, longest=10)
    live = None if share is None else np.random.default_rng(seed).random(200) < share
    scores, rows = whole.search(question, k, live)
    found = cut.search(question, k, live)
    np.testing.assert_allclose(found[0], scores, rtol=1e-6)
    assert found[1].tolist() == rows.tolist()
    some = np.random.default_rng(seed).permutation(200)[:20]
    np.testing.assert_allclose(cut.scores(question, some), whole.scores(question, some), rtol=1e-6)


@pytest.mark.parametrize("few", [0, 1000])
def test_live_rows_are_found_however_few_there_are(
    whole: LexicalIndex, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(tantivy_index, "AT_ONCE", few or 1)
    scores, rows = whole.search("river stone window", 200)
    for live_rows in (rows[-3:], rows[::7], rows[:0]):
        live = np.zeros(200, np.bool_)
        live[live_rows] = True
        found = whole.search("river stone window", 5, live)
        expected = [row for row in rows.tolist() if live[row]][:5]
        assert found[1].tolist() == expected
        np.testing.assert_allclose(found[0], scores[np.isin(rows, expected)], rtol=1e-6)


def test_in_a_large_corpus_rare_terms_choose_what_all_terms_rank(
    whole: LexicalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "river stone window summer doctor albeam"
    scores, rows = whole.search(question, 10)
    monkeypatch.setattr(word_ranking, "_LARGE", 10)
    monkeypatch.setattr(word_ranking, "_COMMON", 0.3)
    monkeypatch.setattr(word_ranking, "_DEPTHS", ((10, 200),))
    found = whole.search(question, 10)
    assert found[1].tolist() == rows.tolist()
    np.testing.assert_allclose(found[0], scores, rtol=1e-6)
    # Where the rare terms have too few passages, the others count from the beginning.
    assert len(whole.candidates(question, 200)) == len(whole.search(question, 200)[1])


def test_terms_are_words_of_any_script() -> None:
    terms = Analyzer("english").terms
    assert terms("Running RUNNERS, cafés; naïve") == ["run", "runner", "cafe", "naiv"]
    assert terms("河流与石头 river") == [*"河流与石头", "river"]
    assert terms("اللُّغات العربي") == ["اللغات", "العربي"]
    assert terms("हिंदी भाषा") == ["हिंदी", "भाषा"]
    assert terms("ﬁnd ｆｕｌｌ e\u0301te\u0301") == ["find", "full", "ete"]
    assert terms(" \t\n?!…") == []
    assert Analyzer("none").terms("Running") == ["running"]
    assert Analyzer("german").terms("Häuser") == Analyzer("german").terms("Haus")


def test_a_question_is_text_and_never_syntax(whole: LexicalIndex) -> None:
    plain = whole.search("text river OR stone AND NOT a TO b 2 3 x y a", 10)
    found = whole.search(SYNTAX, 10)
    assert found[1].tolist() == plain[1].tolist()
    assert found[0].tolist() == plain[0].tolist()
    for odd in ('"', "*", "row:1", "[", "\\", "\ud800", "(", "~", "", "\0"):
        scores, rows = whole.search(odd, 3)
        assert len(scores) == len(rows) <= 3


def test_one_stop_word_a_long_question_and_another_script_find_what_they_should(
    tmp_path: Path,
) -> None:
    texts = ["the river", "a stone", "the window of the house", "石头 stone", "حجر كبير"]
    index = build(tmp_path, texts, [0, 2, 5])
    assert sorted(index.search("the", 9)[1]) == [0, 2]
    assert index.search("石", 9)[1].tolist() == [3]
    assert index.search("حجر", 9)[1].tolist() == [4]
    assert len(index.search("nothing here", 9)[1]) == 0
    long = " ".join(["window", *(f"word{number}" for number in range(10_000)), "river"])
    assert sorted(index.search(long, 9)[1]) == [0, 2]


def test_of_many_terms_those_with_the_largest_weights_are_searched_for(
    whole: LexicalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_ranking, "MAX_TERMS", 2)
    scores = whole.scores("river stone window music", np.arange(200))
    single = [whole.scores(term, np.arange(200)) for term in ("river", "stone", "window", "music")]
    most = sorted(single, key=np.count_nonzero)[:2]
    np.testing.assert_allclose(scores, sum(most), rtol=1e-5)


def test_the_same_texts_give_the_same_files(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        [piece] = write_index(folder, make_texts(50), "english")
        contents.append({suffix: path.read_bytes() for suffix, path in piece.files.items()})
    assert contents[0] == contents[1]


def test_an_empty_index_finds_nothing() -> None:
    index = LexicalIndex([], "english")
    assert index.rows == 0
    assert index.search("river", 5)[1].tolist() == []
    assert index.scores("river", np.array([], np.int64)).tolist() == []


def test_files_that_tantivy_cant_read_are_damage(tmp_path: Path) -> None:
    tmp_path.joinpath("index").mkdir()
    [piece] = write_index(tmp_path / "index", ["river", "stone"], "english")
    piece.files[".term"].write_bytes(b"nonsense")
    with pytest.raises(Damaged) as caught:
        LexicalIndex([OpenPiece(2, 0, piece.files)], "english")
    assert caught.value.option == "lexical index"
    assert "--lexical auto" in caught.value.remedy


def meta(folder: Path) -> dict[str, Any]:
    """``meta.json`` without what differs from index to index: opstamp and segment ids."""
    value = json.loads((folder / "meta.json").read_text())
    assert isinstance(value.pop("opstamp"), int)
    for segment in value["segments"]:
        uuid.UUID(segment.pop("segment_id"))
    return value


def test_a_composed_meta_json_is_what_tantivy_writes_itself(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    pieces = write_index(theirs, make_texts(30), "english")
    compose_index(str(ours), [OpenPiece(piece.rows, 0, piece.files) for piece in pieces])
    expected, found = meta(theirs), meta(ours)
    assert expected["segments"] == [{"max_doc": 30, "deletes": None}]
    # Another version of tantivy may write other keys: `compose_index` must then follow.
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == value, key
    # The files are named by their segment, as tantivy names them.
    [segment] = json.loads((ours / "meta.json").read_text())["segments"]
    links = {path.name for path in ours.iterdir() if path.is_symlink()}
    stem = uuid.UUID(segment["segment_id"]).hex
    assert links == {f"{stem}{suffix}" for suffix in pieces[0].files}


@pytest.mark.parametrize("between", [" ", ","])
def test_words_that_only_others_have_do_not_change_a_shortened_question(
    tmp_path: Path, between: str
) -> None:
    mine = [f"word{number:03d}" for number in range(80)]
    live = np.array([True, False])
    question = between.join([*mine, "theirs"])

    def found(texts: list[str], name: str, shortens: bool) -> list[float]:
        index = build(tmp_path / name, texts, [0, 2])
        short = index.shortened(question)
        assert index.shortened(short) == short
        scores, rows = index.search(short if shortens else question, 2, live)
        assert rows.tolist() == [0]
        return scores.tolist()

    # The word of the other passage takes the place of one of these, which fewer passages have.
    with_it = [" ".join(mine), " ".join([*mine[:70], "theirs"])]
    without = [" ".join(mine), " ".join([*mine[:70], "others"])]
    assert found(with_it, "a", True) == found(without, "b", True)
    assert found(with_it, "c", False) != found(without, "d", False)
