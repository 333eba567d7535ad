"""What becomes of each document, against plain loops over dictionaries."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import BadInput
from transforms.storage.schema import HASH
from transforms.transactions.diff import (
    RECORD_SCHEMA,
    apply_known_rejects,
    check_duplicates,
    compare,
    live_records,
    reject_records,
    split_records,
)

IDS = st.sampled_from(["a", "b", "c", "d", "é", ""])
HASHES = st.sampled_from([bytes(16), b"x" * 15 + b"\0", b"x" * 16])
INPUT = st.tuples(st.none() | IDS, HASHES, HASHES, st.booleans())
LIVE = st.tuples(IDS, HASHES, HASHES)


def inputs_of(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [
        {
            "document_id": name, "text_hash": text, "metadata_hash": metadata,
            "reason": "blank text" if rejected or name is None else None,
            "file": number // 3, "row": number % 3,
        }
        for number, (name, text, metadata, rejected) in enumerate(rows)
    ]  # fmt: skip


def live_of(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [
        {
            "document_id": name, "text_hash": text, "metadata_hash": metadata,
            "segment": number % 2, "first": number // 2 * 10, "rows": 1 + number,
        }
        for number, (name, text, metadata) in enumerate(rows)
    ]  # fmt: skip


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, RECORD_SCHEMA)


def expected(
    inputs: list[dict[str, Any]], live: list[dict[str, Any]], mode: str, on_duplicate: str
) -> list[tuple[Any, ...]]:
    """``change``, the input's address and the live one's, of every row of the result."""
    result = []
    chosen: dict[str, dict[str, Any]] = {}
    ordered = sorted(inputs, key=lambda record: (record["file"], record["row"]))
    for record in ordered if on_duplicate == "last" else reversed(ordered):
        if record["document_id"] is not None:
            chosen[record["document_id"]] = record
    left = sorted(live, key=lambda record: (record["segment"], record["first"]))
    for record in inputs:
        address = (record["file"], record["row"])
        name = record["document_id"]
        if name is None:
            result.append(("rejected", *address, None, None))
            continue
        if chosen[name] is not record:
            result.append(("duplicate", *address, None, None))
            continue
        mine = [other for other in left if other["document_id"] == name]
        likeness = [
            2 * (other["text_hash"] == record["text_hash"])
            + (
                (other["text_hash"], other["metadata_hash"])
                == (record["text_hash"], record["metadata_hash"])
            )
            for other in mine
        ]
        best = mine[int(np.argmax(likeness))] if mine else None
        kind = ["changed", "changed", "metadata", "unchanged"][max(likeness)] if mine else "new"
        if record["reason"] is not None:
            kind = "rejected"
        place = (best["segment"], best["first"]) if best else (None, None)
        result.append((kind, *address, *place))
        for other in mine:
            left.remove(other)
            if other is not best:
                result.append(("copy", None, None, other["segment"], other["first"]))
    met: set[str] = set()
    for other in left:
        if other["document_id"] in met:
            result.append(("copy", None, None, other["segment"], other["first"]))
        elif mode == "sync":
            result.append(("removed", None, None, other["segment"], other["first"]))
        met.add(other["document_id"])
    return result


@settings(deadline=None)
@given(
    st.lists(INPUT, max_size=8),
    st.lists(LIVE, max_size=8),
    st.sampled_from(["append", "sync"]),
    st.sampled_from(["error", "first", "last"]),
    st.randoms(),
)
def test_each_document_becomes_what_plain_loops_say(
    inputs: list[tuple[Any, ...]],
    live: list[tuple[Any, ...]],
    mode: str,
    on_duplicate: str,
    order: Any,
) -> None:
    ours, theirs = inputs_of(inputs), live_of(live)
    wanted = expected(ours, theirs, mode, on_duplicate)
    found = compare(table_of(ours), table_of(theirs), mode, on_duplicate)
    rows = [
        tuple(row[name] for name in ("change", "file", "row", "segment", "first"))
        for row in found.to_pylist()
    ]
    assert Counter(rows) == Counter(wanted)
    order.shuffle(ours)
    order.shuffle(theirs)
    assert compare(table_of(ours), table_of(theirs), mode, on_duplicate).equals(found)


def test_a_text_that_was_refused_before_is_rejected_and_no_other() -> None:
    inputs = table_of(
        inputs_of(
            [
                ("a", b"n" * 16, b"m" * 16, False),
                ("b", b"n" * 16, b"m" * 16, False),
                ("c", b"o" * 16, b"m" * 16, False),
                ("d", b"n" * 16, b"m" * 16, True),
            ]
        )
    )
    rejects = pa.table(
        {
            "document_id": ["a", "c", "d", "e", "b"],
            "text_hash": pa.array([b"n" * 16] * 5, HASH),
            "reason": ["no tokens", "no tokens", "no tokens", "no tokens", "out of memory"],
        }
    )
    found = apply_known_rejects(inputs, reject_records(rejects))
    before = inputs.column("reason").to_pylist()
    assert found.column("reason").to_pylist() == ["no tokens", None, None, before[3]]
    assert before[3] is not None
    assert found.drop_columns(["reason"]).equals(inputs.drop_columns(["reason"]))
    assert apply_known_rejects(inputs, reject_records(rejects.slice(0, 0))) is inputs


def test_a_result_has_the_hashes_and_passages_that_a_commit_wants() -> None:
    new = ("a", b"n" * 16, b"m" * 16, False)
    found = compare(
        table_of(inputs_of([new])),
        table_of(live_of([("a", b"o" * 16, b"m" * 16), ("z", b"z" * 16, b"m" * 16)])),
        "sync",
        "error",
    ).to_pylist()
    assert [(row["change"], row["text_hash"], row["rows"]) for row in found] == [
        ("changed", b"n" * 16, 1),
        ("removed", b"z" * 16, 2),
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.booleans()), max_size=9))
def test_passages_that_follow_each_other_are_one_document(
    documents: list[tuple[str, int, bool]],
) -> None:
    ids, rows, wanted = [], [], []
    place = 0
    for number, (letter, count, gap) in enumerate(documents):
        place += gap
        wanted.append((f"{letter}{number}", place, count))
        ids += [f"{letter}{number}"] * count
        rows += range(place, place + count)
        place += count
    hashes = pa.array([bytes(16)] * len(ids), pa.binary(16))
    table = pa.table({"document_id": pa.array(ids, pa.string())})
    table = table.append_column("text_hash", hashes).append_column("metadata_hash", hashes)
    found = live_records(table, np.array(rows, np.int64), 3).to_pylist()
    assert [(row["document_id"], row["first"], row["rows"]) for row in found] == wanted
    assert all(row["segment"] == 3 for row in found)


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=4), max_size=30), st.integers(1, 9))
def test_buckets_have_every_record_once_and_an_id_has_one_bucket(
    ids: list[str | None], buckets: int
) -> None:
    records = table_of([{"document_id": name, "row": row} for row, name in enumerate(ids)])
    where: dict[str | None, int] = {}
    rows = []
    for bucket, table in split_records(records, buckets):
        assert 0 <= bucket < buckets
        for record in table.to_pylist():
            assert where.setdefault(record["document_id"], bucket) == bucket
            rows.append(record["row"])
    assert sorted(rows) == list(range(len(ids)))


def test_duplicates_are_counted_and_a_few_are_named() -> None:
    check_duplicates([], 0, "id")
    with pytest.raises(BadInput) as caught:
        check_duplicates(["b"], 1, "id")
    assert (caught.value.option, caught.value.value) == ("id_column", "id")
    assert caught.value.problem.startswith("1 ids ")
    assert caught.value.problem.endswith(": 'b'")
    with pytest.raises(BadInput) as caught:
        check_duplicates(list("abcdef"), 9, "id")
    assert caught.value.problem.startswith("9 ids ")
    assert caught.value.problem.endswith(": 'a', 'b', 'c', 'd', 'e', …")
