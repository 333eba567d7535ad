"""Windows, spans and token ids, against brute force."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models import WORDS, make_tokenizer
from transforms.errors import BadInput
from transforms.ingest import passages
from transforms.ingest.options import PassageOptions
from transforms.ingest.part_tables import Chunk, chunk_of, mark_chunk
from transforms.ingest.passages import SplitPassages, check_passage_options, split_passages
from transforms.ingest.windows import cut, windows
from transforms.models.options import ModelOptions
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.runtime.once import Once
from transforms.storage.schema import METRICS, PASSAGE_FIELDS, REJECT, TOKENS

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
    lead = len(TOKENIZER.encode([prompt]).ids)
    if len(found) > 1:
        for window in found:
            assert np.array_equal(window.ids[1 : 1 + lead], TOKENIZER.encode([prompt]).ids)


def test_a_passage_between_words_gives_the_same_tokens_again() -> None:
    text = " ".join(WORDS * 10)
    options = PassageOptions(24, 6)
    found = list(cut(TOKENIZER.encode([text])[0], text, TOKENIZER, options))
    assert len(found) > 10
    for window in found:
        again = TOKENIZER.encode_framed([text[window.start : window.end]], 1_000)[0]
        assert again == window.ids.tolist()


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


def by_rows(table: pa.Table, options: PassageOptions) -> list[dict[str, Any]]:
    """What `split_passages` gives, one row after the other, with transformers' own tokens."""
    backend = make_tokenizer().backend_tokenizer
    found = []
    for row in table.to_pylist():
        text, reason = row.pop("text"), row[REJECT]
        made: list[tuple[int, int, list[int]]] = []
        if reason is None:
            encoding = backend.encode(options.prompt + text, add_special_tokens=False)
            shift = len(options.prompt)
            lead = sum(end <= shift for _, end in encoding.offsets) if shift else 0
            spans = [(max(0, a - shift), b - shift) for a, b in encoding.offsets[lead:]]
            starts = [
                (n == 0 or a != spans[n - 1][0]) and (a == 0 or text[a - 1].isspace())
                for n, (a, _) in enumerate(spans)
            ]
            room = options.max_tokens - 2 - lead
            for first, stop in windows(
                len(spans), room, options.stride, np.array(starts, np.bool_)
            ):
                begin = spans[first][0] if made else 0
                end = max(b for _, b in spans[first:stop]) if stop < len(spans) else len(text)
                ids = encoding.ids[:lead] + encoding.ids[lead + first : lead + stop]
                made.append((begin, end, [2, *ids, 3]))
            row[REJECT] = None if made else "no tokens"
        digest = hashlib.blake2b((text or "").encode(), digest_size=16).digest()
        for number, (begin, end, ids) in enumerate(made):
            passage = {"passage": number, "start": begin, "end": end, "text": text[begin:end]}
            found.append(row | passage | {"text_hash": digest, TOKENS: ids})
        if not made:
            columns = dict.fromkeys(("passage", "start", "end", "text", TOKENS))
            found.append(row | columns | {"text_hash": digest if reason is None else None})
    return found


@given(
    st.lists(
        st.none()
        | SENTENCES.map(" ".join)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        max_size=8,
    ),
    st.integers(18, 40),
    st.integers(0, 3),
    st.sampled_from(["", "passage: ", "p", "\u0301 "]),
)
@settings(deadline=None)
def test_split_passages_gives_what_one_row_after_the_other_gives(
    texts: list[str | None], max_tokens: int, stride: int, prompt: str
) -> None:
    options = PassageOptions(max_tokens, stride, prompt)
    check_passage_options(options, TOKENIZER)
    table = source(texts, ["null text" if text is None else None for text in texts])
    found = split_passages(table, TOKENIZER, options)
    found.validate(full=True)
    assert found.to_pylist() == by_rows(table, options)
    assert found.schema.metadata == table.schema.metadata
    halves = [table.slice(0, 3), table.slice(3)]
    parts = [split_passages(half, TOKENIZER, options) for half in halves]
    assert pa.concat_tables(parts).equals(found)
    assert split_passages(pa.concat_tables(halves), TOKENIZER, options).equals(found)


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
    ("options", "option", "value"),
    [
        (PassageOptions(16, 14), "stride", 14),
        (PassageOptions(2, 0), "max_tokens", 2),
        (PassageOptions(12, 12, "passage: "), "stride", 12),
    ],
)
def test_options_that_can_not_move_forward_are_refused(
    options: PassageOptions, option: str, value: int
) -> None:
    with pytest.raises(BadInput) as caught:
        check_passage_options(options, TOKENIZER)
    assert (caught.value.option, caught.value.value) == (option, value)


@pytest.mark.parametrize(
    ("given", "option"), [({"max_tokens": 0}, "max_tokens"), ({"stride": -1}, "stride")]
)
def test_passage_options_check_themselves(given: dict[str, int], option: str) -> None:
    with pytest.raises(BadInput) as caught:
        PassageOptions(**{"max_tokens": 16} | given)
    assert (caught.value.option, caught.value.value) == (option, given[option])


def test_threads_of_a_worker_share_one_tokenizer(
    albert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def load(model: Model) -> Tokenizer:
        loads.append(model.folder)
        return load_tokenizer(model)

    monkeypatch.setattr(passages, "_tokenizer_of", Once(load, 1))
    barrier = threading.Barrier(3)

    def set_up(_: int) -> Tokenizer:
        split = passages._SplitFn(ModelOptions(str(albert)), PassageOptions(16, 2))
        barrier.wait(20)
        split.setup()
        return split._tokenizer

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(set_up, range(3)))
    assert loads == [str(albert)]
    assert found[0] is found[1] is found[2]


def test_split_passages_counts_the_texts_that_are_mostly_unknown() -> None:
    fast = make_tokenizer()
    tokenizer = Tokenizer(fast.backend_tokenizer, fast.unk_token_id)
    # A rejected text and one without tokens are told as rejects.
    texts = ["river", "東京は", "東京は " * 40, "Привет river stone", None, "\u0301"]
    table = source(texts, [None, None, None, None, "null text", None])
    for prompt in ("", "a prompt that is longer than the texts: "):
        counts: list[int] = []
        split_passages(table, tokenizer, PassageOptions(64, 2, prompt), counts.append)
        assert counts == [2]


def test_split_passages_counts_the_texts_that_are_tokenized_slowly(albert: Path) -> None:
    table = source(["river stone", "a \u0301b", "music", "\u0301"], [None] * 4)
    options = PassageOptions(16, 2)
    pipeline = beam.Pipeline(FnApiRunner())
    tables = pipeline | beam.Create([table]).with_output_types(pa.Table)
    _ = tables | SplitPassages(ModelOptions(str(albert)), options)
    result = pipeline.run()
    name = MetricsFilter().with_namespace(METRICS).with_name("texts_tokenized_slowly")
    (counter,) = result.metrics().query(name)["counters"]
    assert counter.committed == 2
