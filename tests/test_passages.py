"""Windows, spans and token ids, against brute force."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import WORDS, make_tokenizer
from transforms.errors import BadInput
from transforms.passages import (
    PassageOptions,
    check_passage_options,
    cut,
    split_passages,
    windows,
)
from transforms.records import PASSAGE_FIELDS, REJECT, TOKENS, Chunk, chunk_of, mark_chunk
from transforms.tokenizer import Tokenizer

TOKENIZER = Tokenizer(make_tokenizer().backend_tokenizer)
SENTENCES = st.lists(st.sampled_from([*WORDS, " ", "\n", "(", "日本語のテキスト"]), max_size=60)


@st.composite
def window_cases(draw: st.DrawFn) -> tuple[int, int, int, list[bool]]:
    room = draw(st.integers(1, 20))
    count = draw(st.integers(0, 100))
    starts = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return count, room, draw(st.integers(0, room - 1)), starts


@given(window_cases())
def test_windows_cover_all_tokens_overlap_and_move_on(
    case: tuple[int, int, int, list[bool]],
) -> None:
    count, room, stride, starts = case
    found = list(windows(count, room, stride, np.array(starts, np.bool_)))
    covered = {token for first, stop in found for token in range(first, stop)}
    assert covered == set(range(count))
    assert all(0 < stop - first <= room for first, stop in found)
    for (first, stop), (later, later_stop) in pairwise(found):
        assert first < later
        assert stop < later_stop
        assert stop - later >= stride
    if count <= room:
        assert found == ([(0, count)] if count else [])


def test_without_words_a_window_is_full_and_the_overlap_exact() -> None:
    found = list(windows(25, 10, 4, np.zeros(25, np.bool_)))
    assert found == [(0, 10), (6, 16), (12, 22), (18, 25)]


@given(SENTENCES, st.integers(4, 30), st.integers(0, 12), st.sampled_from(["", "passage: "]))
@settings(deadline=None)
def test_a_passage_is_a_slice_of_its_document_and_tokens_fit(
    words: list[str], max_tokens: int, stride: int, prompt: str
) -> None:
    text = " ".join(words)
    options = PassageOptions(max_tokens, stride, prompt)
    try:
        check_passage_options(options, TOKENIZER)
    except BadInput:
        return
    tokens = TOKENIZER.encode([prompt + text])[0]
    found = list(cut(tokens, text, TOKENIZER, options))
    assert all(len(window.ids) <= max_tokens for window in found)
    assert all(0 <= window.start < window.end <= len(text) for window in found)
    if found:
        assert found[0].start == 0
        assert found[-1].end == len(text)
    lead = len(TOKENIZER.encode([prompt])[0].ids)
    if len(found) > 1:
        for window in found:
            assert window.ids[1 : 1 + lead] == TOKENIZER.encode([prompt])[0].ids


def test_a_passage_between_words_gives_the_same_tokens_again() -> None:
    text = " ".join(WORDS * 10)
    options = PassageOptions(24, 6)
    found = list(cut(TOKENIZER.encode([text])[0], text, TOKENIZER, options))
    assert len(found) > 10
    for window in found:
        again = TOKENIZER.encode_framed([text[window.start : window.end]], 1_000)[0]
        assert again == window.ids


def source(texts: list[str | None], reasons: list[str | None]) -> pa.Table:
    count = len(texts)
    return mark_chunk(
        pa.table(
            {
                "document_id": pa.array([f"d{n}" for n in range(count)], pa.string()),
                "text": pa.array(texts, pa.string()),
                "metadata_hash": pa.array([bytes(16)] * count, pa.binary(16)),
                "_file": ["f"] * count,
                "_row": pa.array(range(count), pa.int64()),
                REJECT: pa.array(reasons, pa.string()),
                "year": pa.array(range(count), pa.int16()),
            }
        ),
        Chunk(3, 1, last=True),
    )


def test_split_passages_keeps_order_rejects_metadata_and_the_chunk() -> None:
    long = " ".join(WORDS)
    table = source(["river", None, long, "\u0301"], [None, "null text", None, None])
    found = split_passages(table, TOKENIZER, PassageOptions(16, 2))
    assert found.column_names[: len(PASSAGE_FIELDS)] == [field.name for field in PASSAGE_FIELDS]
    assert chunk_of(found) == Chunk(3, 1, last=True)
    rows = found.to_pylist()
    assert [row["document_id"] for row in rows][:2] == ["d0", "d1"]
    assert rows[0]["text"] == "river"
    assert (rows[0]["start"], rows[0]["end"], rows[0]["passage"]) == (0, 5, 0)
    assert rows[1][REJECT] == "null text"
    assert rows[1][TOKENS] is None
    assert rows[-1][REJECT] == "no tokens"
    middle = [row for row in rows if row["document_id"] == "d2"]
    assert [row["passage"] for row in middle] == list(range(len(middle)))
    assert len(middle) > 2
    assert all(row["text"] == long[row["start"] : row["end"]] for row in middle)
    assert {row["text_hash"] for row in middle} != {rows[0]["text_hash"]}
    assert len({row["text_hash"] for row in middle}) == 1
    assert [row["year"] for row in middle] == [2] * len(middle)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PassageOptions(16, 14), r"stride 14 is not below the 14 tokens"),
        (PassageOptions(2, 0), r"max-tokens 2 leaves no room"),
        (PassageOptions(12, 12, "passage: "), r"stride 12 is not below"),
    ],
)
def test_options_that_can_not_move_forward_are_refused(
    options: PassageOptions, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        check_passage_options(options, TOKENIZER)
