"""Tags of words, their rows, and where a tagger reads words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.models import make_tokenizer
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.tokenizer import Tokenizer
from transforms.tasks.data.bio import Span, entities, find_words, join_words, repair, tag_words
from transforms.tasks.data.tag_rows import learn_tags, read_tagged
from transforms.tasks.networks.tagging import place_words
from transforms.tasks.networks.windows import cut_windows

TEXT = "Über die River-Stone, 1½ naïve été: music!"


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_tags_are_repaired_and_become_entities() -> None:
    tags = ["I-x", "I-x", "O", "B-y", "I-x", "B-x", "I-x", "B-x"]
    sound = ["B-x", "I-x", "O", "B-y", "B-x", "B-x", "I-x", "B-x"]
    assert repair(tags) == sound
    found = [Span(0, 2, "x"), Span(3, 4, "y"), Span(4, 5, "x"), Span(5, 7, "x"), Span(7, 8, "x")]
    assert entities(tags) == entities(sound) == found
    assert entities([]) == entities(["O"]) == []


def test_words_are_code_points_of_their_text() -> None:
    text, spans = join_words(["Über", "", "né"])
    assert [text[a:b] for a, b in spans] == ["Über", "", "né"]
    words = find_words(TEXT, cuts=[7])
    assert [TEXT[a:b] for a, b in words][:5] == ["Über", "di", "e", "River-Stone", ","]
    text = "(U.S. law) Anna's 3.5, o'clock—it's AT&T. a_b café's."
    assert [text[a:b] for a, b in find_words(text)] == [
        *("(", "U.S.", "law", ")", "Anna", "'s", "3.5", ",", "o'clock", "—", "it", "'s"),
        *("AT&T", ".", "a_b", "café", "'s", "."),
    ]
    assert find_words("").shape == join_words([])[1].shape == (0, 2)


def test_tags_and_spans_of_a_text_are_the_same() -> None:
    spans = [Span(9, 20, "place"), Span(36, 38, "part")]
    words = find_words(TEXT, [9, 20, 36, 38])
    found = entities(tag_words(words, spans))
    assert [Span(int(words[s.start, 0]), int(words[s.end - 1, 1]), s.type) for s in found] == spans


def test_each_word_is_read_once_at_its_first_piece_far_from_edges() -> None:
    tokenizer = Tokenizer(make_tokenizer().backend_tokenizer, 1)
    texts = ["", TEXT, f"{TEXT} " * 30, "river"]
    words = [find_words(text) for text in texts]
    whole = cut_windows(tokenizer, texts, 10_000, offsets=True)
    windows = cut_windows(tokenizer, texts, 24, 8, offsets=True)
    one, many = place_words(whole, words), place_words(windows, words)
    assert len(many.windows) == sum(map(len, words))
    assert (many.windows >= 0).all()
    owners = np.repeat(np.arange(len(texts)), [len(each) for each in words])
    assert np.array_equal(windows.texts[many.windows], owners)
    pieces = windows.firsts[many.windows] + many.places - windows.prefix
    assert np.array_equal(pieces, one.places - whole.prefix)
    starts = [spans[:, 0] for spans in words]
    for text, piece, start in zip(owners, pieces, np.concatenate(starts), strict=True):
        assert whole.offsets[text][piece, 0] <= start < whole.offsets[text][piece, 1]
    inner = (many.windows != np.searchsorted(windows.texts, owners)) & (many.places < 3)
    assert not inner.any()


def test_rows_of_words_and_rows_of_spans_give_the_same_tags(tmp_path: Path) -> None:
    words = write(
        tmp_path / "words.parquet",
        tokens=[["to", "New", "York", "."], []],
        tags=[["O", "I-place", "I-place", "O"], []],
    )
    texts = write(
        tmp_path / "texts.parquet",
        text=["to New York .", ""],
        spans=[[{"start": 3, "end": 11, "type": "place"}], None],
    )
    one = read_tagged([words], "data")
    other = read_tagged([texts], "data", spans="spans")
    assert one.tags == other.tags == [["O", "B-place", "I-place", "O"], []]
    assert one.texts == other.texts
    assert (one.repaired, other.repaired) == (1, 0)
    classes = learn_tags(one)
    assert classes.names == ("O", "B-place", "I-place")
    assert [each.tolist() for each in one.codes(classes)] == [[0, 1, 2, 0], []]


@pytest.mark.parametrize(
    ("tokens", "tags", "problem"),
    [
        ([["a"], ["a", "b"]], [["O"], ["O"]], "row 1 has 2 tokens and 1 tags"),
        ([["a"]], [["PER"]], "'PER'"),
        ([["a"], None], [["O"], ["O"]], "row 1"),
        ([["a", None]], [["O", "O"]], "row 0"),
        ([["a"]], [["E-x"]], "'E-x'"),
    ],
)
def test_tags_that_do_not_fit_are_refused(
    tmp_path: Path, tokens: Any, tags: Any, problem: str
) -> None:
    path = write(tmp_path / "bad.parquet", tokens=tokens, tags=tags)
    with raises(BadInput, "data", path, problem):
        read_tagged([path], "data")


@pytest.mark.parametrize(
    "spans",
    [
        [{"start": 0, "end": 6, "type": "x"}],
        [{"start": 2, "end": 2, "type": "x"}],
        [{"start": -1, "end": 2, "type": "x"}],
        [{"start": 0, "end": None, "type": "x"}, {"start": 0, "end": 1, "type": "x"}],
        [{"start": 0, "end": 2, "type": ""}],
        [{"start": 0, "end": 3, "type": "x"}, {"start": 2, "end": 4, "type": "y"}],
    ],
)
def test_spans_that_do_not_fit_are_refused(tmp_path: Path, spans: Any) -> None:
    path = write(tmp_path / "bad.parquet", text=["river"], spans=[spans])
    with raises(BadInput, "data", path, "row 0"):
        read_tagged([path], "data", spans="spans")


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.parquet", tokens=["a"], tags=["O"])
    with raises(BadInput, "data", path, "tokens"):
        read_tagged([path], "data")
    nothing = write(tmp_path / "nothing.parquet", tokens=[["a"]], tags=[["O"]])
    with raises(BadInput, "data", nothing, "one class"):
        learn_tags(read_tagged([nothing], "data"))
    other = write(tmp_path / "other.parquet", tokens=[["a"]], tags=[["B-x"]])
    classes = learn_tags(read_tagged([other], "data"))
    with raises(BadInput, "validation", problem="B-y"):
        later = write(tmp_path / "later.parquet", tokens=[["a"]], tags=[["B-y"]])
        read_tagged([later], "validation").codes(classes)


def test_words_are_placed_as_by_a_comparison_of_all_windows() -> None:
    tokenizer = Tokenizer(make_tokenizer().backend_tokenizer, 1)
    text = " ".join([TEXT] * 40)
    words = find_words(text)
    for most, overlap in ((8, 4), (12, 6), (24, 0), (24, 11), (40, 20)):
        windows = cut_windows(tokenizer, [text], most, overlap, offsets=True)
        found = place_words(windows, [words])
        pieces = windows.firsts[found.windows] + found.places - windows.prefix
        last = windows.firsts + windows.lengths - windows.special - 1
        edge = np.minimum(pieces - windows.firsts[:, None], last[:, None] - pieces)
        assert np.array_equal(found.windows, edge.argmax(axis=0))
