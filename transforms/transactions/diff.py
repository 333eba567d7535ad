"""Compare the documents of an input with the live ones, by id and by content hash.

A document is one small record: its id, the hashes of its text and its metadata, and its address.
Records are split into buckets by id, so that a bucket of both sides fits into memory.
"""

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import BadInput
from transforms.storage.hashing import text_hashes
from transforms.storage.schema import HASH, NO_TOKENS, REJECT, ROW

#: The kinds of change of a document. A duplicate was ignored in favour of another of the same id.
CHANGE_KINDS = (
    *("new", "changed", "metadata", "unchanged", "removed", "rejected", "duplicate", "copy"),
)

#: A record of either side. An input document has ``file`` and ``row``, and a reason if it can't be
#: embedded. A live document has the number of its segment, its first row there and its number of
#: rows. A record with a reason but no address is a known reject, see `apply_known_rejects`.
RECORD_SCHEMA: pa.Schema = pa.schema(
    [
        ("document_id", pa.string()),
        ("text_hash", HASH),
        ("metadata_hash", HASH),
        ("reason", pa.string()),
        ("file", pa.int32()),
        ("row", pa.int64()),
        ("segment", pa.int32()),
        ("first", pa.int64()),
        ("rows", pa.int32()),
    ]
)
#: The result of a comparison: records of both sides joined, and the kind of change.
CHANGE_SCHEMA: pa.Schema = RECORD_SCHEMA.append(pa.field("change", pa.string()))

Ints = npt.NDArray[np.int64]


def compare(inputs: pa.Table, live: pa.Table, mode: str, on_duplicate: str) -> pa.Table:
    """Return the change of each document of a bucket.

    Args:
        inputs: records of the input, in any order.
        live: records of the store; an id should occur once.
        mode: ``sync`` removes live documents that the input lacks.
        on_duplicate: which of several input documents of one id counts: the ``last`` one in the
            order of the input, otherwise the first one.

    Returns:
        Rows of `CHANGE_SCHEMA`, ordered by id. Each input record occurs once. ``new``,
        ``changed`` and ``metadata`` (only that changed) come with the live record that they
        replace, ``unchanged`` with the one that stays, ``rejected`` with the one that dies.
        A further live record that dies is ``removed``, or a ``copy`` of another one of its id.
        Hashes are those of the input; a removed record has its own.
    """
    inputs = inputs.sort_by([("file", "ascending"), ("row", "ascending")]).combine_chunks()
    live = live.sort_by([("segment", "ascending"), ("first", "ascending")]).combine_chunks()
    codes, live_codes, count = _codes(inputs.column("document_id"), live.column("document_id"))
    with_id = np.flatnonzero(codes >= 0)
    order = with_id if on_duplicate == "last" else with_id[::-1]
    # The input record of each id that counts; a record without an id always does.
    chosen = np.full(count, -1)
    chosen[codes[order]] = order
    counts = codes < 0
    counts[chosen[chosen >= 0]] = True

    # Of several live records of one id, the one most similar to the input's stays.
    partner = chosen[live_codes]
    same_text, same_metadata = (
        _equal(live.column(name), inputs.column(name), partner)
        for name in ("text_hash", "metadata_hash")
    )
    likeness = same_text * 2 + (same_text & same_metadata)
    best = np.full(count, -1)
    ranked = np.lexsort((-np.arange(len(live_codes)), likeness))
    best[live_codes[ranked]] = ranked

    # The live record of each input record.
    match = np.where(codes >= 0, best[codes], -1) if count else np.full(len(codes), -1)
    kind = np.full(len(codes), "new", object)
    matched = match >= 0
    kind[matched] = np.array(["changed", "changed", "metadata", "unchanged"], object)[
        likeness[match[matched]]
    ]
    kind[pc.is_valid(inputs.column("reason")).to_numpy()] = "rejected"
    kind[~counts] = "duplicate"
    match[~counts] = -1

    unmatched = np.ones(len(live_codes), np.bool_)
    unmatched[match[match >= 0]] = False
    is_best = best[live_codes] == np.arange(len(live_codes))
    dying = np.flatnonzero(unmatched & ((partner >= 0) | ~is_best | (mode == "sync")))
    reasons = np.where(is_best[dying], "removed", "copy").astype(object)
    joined = _join(inputs, live, match, kind)
    others = live.take(pa.array(dying)).append_column("change", pa.array(reasons, pa.string()))
    return pa.concat_tables([joined, others]).sort_by(
        [(name, "ascending") for name in ("document_id", "file", "row", "segment", "first")]
    )


def apply_known_rejects(inputs: pa.Table, rejects: pa.Table) -> pa.Table:
    """Reject the input's records whose texts an earlier run rejected for good.

    Args:
        inputs: records of the input.
        rejects: id, text hash and reason of rejects that no later run can embed.
    """
    known = pc.unique(rejects.column("document_id"))
    places = np.flatnonzero(pc.is_in(inputs.column("document_id"), value_set=known).to_numpy())
    if not len(places):
        return inputs
    names = ("document_id", "text_hash")
    keys = zip(*(rejects.column(name).to_pylist() for name in names), strict=True)
    why = dict(zip(keys, rejects.column("reason").to_pylist(), strict=True))
    reasons = inputs.column("reason").to_pylist()
    chosen = inputs.take(pa.array(places))
    theirs = zip(*(chosen.column(name).to_pylist() for name in names), strict=True)
    for place, key in zip(places.tolist(), theirs, strict=True):
        reasons[place] = reasons[place] or why.get(key)
    column = RECORD_SCHEMA.get_field_index("reason")
    field = RECORD_SCHEMA.field(column)
    return inputs.set_column(column, field, pa.array(reasons, field.type))


def _codes(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> tuple[Ints, Ints, int]:
    """Number the ids of both columns, equal ids alike and null as -1; also return the count."""
    both = pa.chunked_array([*ids.chunks, *others.chunks], pa.string()).combine_chunks()
    encoded = pc.dictionary_encode(both)
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes[: len(ids)], codes[len(ids) :], len(encoded.dictionary)


def _equal(column: pa.ChunkedArray, other: pa.ChunkedArray, places: Ints) -> npt.NDArray[np.bool_]:
    """Return whether each value equals that of ``other`` at a place; False if the place is -1."""
    taken = other.take(pa.array(places, mask=places < 0))
    same = pc.fill_null(pc.equal(column, taken), False)
    return same.to_numpy().astype(np.bool_)  # type: ignore[no-any-return]


def _join(inputs: pa.Table, live: pa.Table, match: Ints, kind: npt.NDArray[np.object_]) -> pa.Table:
    partners = live.take(pa.array(match, mask=match < 0))
    columns = [
        (partners if name in ("segment", "first", "rows") else inputs).column(name)
        for name in RECORD_SCHEMA.names
    ]
    return pa.table([*columns, pa.array(kind, pa.string())], schema=CHANGE_SCHEMA)


def input_records(table: pa.Table, file: int) -> pa.Table:
    """Return the records of input rows.

    Args:
        table: ``document_id, _row`` and, if hashes are needed, ``text, metadata_hash, _reject``.
        file: the number of the file.
    """
    rows = table.num_rows
    columns = {"document_id": table.column("document_id"), "row": table.column(ROW)}
    if "text" in table.column_names:
        columns["reason"] = table.column(REJECT)
        good = pc.is_null(table.column(REJECT))
        texts = pc.if_else(good, table.column("text"), None)
        columns["text_hash"] = text_hashes(texts.combine_chunks())
        columns["metadata_hash"] = table.column("metadata_hash")
    columns["file"] = pa.array(np.full(rows, file), pa.int32())
    return _records(columns, rows)


def reject_records(table: pa.Table) -> pa.Table:
    """Return records without an address for `apply_known_rejects`.

    Args:
        table: ``document_id, text_hash, reason`` of a part's rejects.
    """
    table = table.filter(pc.equal(table.column("reason"), NO_TOKENS))
    columns = {name: table.column(name) for name in ("document_id", "text_hash", "reason")}
    return _records(columns, table.num_rows)


def live_records(table: pa.Table, rows: Ints, segment: int) -> pa.Table:
    """Return the records of live documents.

    Args:
        table: ``document_id, text_hash, metadata_hash`` of passages, in order.
        rows: their row numbers in the segment; a document's rows are consecutive.
        segment: the number of the segment.
    """
    ids = table.column("document_id").combine_chunks()
    if not len(ids):
        return RECORD_SCHEMA.empty_table()
    begins = np.ones(len(ids), np.bool_)
    begins[1:] = (np.diff(rows) != 1) | pc.not_equal(ids[1:], ids[:-1]).to_numpy(
        zero_copy_only=False
    )
    places = np.flatnonzero(begins)
    first = table.take(pa.array(places))
    columns = {name: first.column(name) for name in first.column_names}
    columns["segment"] = pa.array(np.full(len(places), segment), pa.int32())
    columns["first"] = pa.array(rows[places])
    columns["rows"] = pa.array(np.diff([*places, len(ids)]), pa.int32())
    return _records(columns, len(places))


def _records(columns: dict[str, pa.ChunkedArray | pa.Array], rows: int) -> pa.Table:
    return pa.table(
        [columns.get(field.name, pa.nulls(rows, field.type)) for field in RECORD_SCHEMA],
        schema=RECORD_SCHEMA,
    )


def split_records(table: pa.Table, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield the records of each bucket, chosen by the id; null ids are in the first."""
    ids = table.column("document_id").to_pylist()
    numbers = np.array(
        [zlib.crc32(name.encode()) % buckets if name is not None else 0 for name in ids], np.int64
    )
    order = np.argsort(numbers, kind="stable")
    edges = np.searchsorted(numbers[order], np.arange(buckets + 1))
    for bucket in np.flatnonzero(np.diff(edges)).tolist():
        yield bucket, table.take(pa.array(order[edges[bucket] : edges[bucket + 1]]))


def check_duplicates(ids: list[str], count: int, column: str) -> None:
    """Raise BadInput if ``count`` ids, among them ``ids``, occur more than once."""
    if count:
        some = ", ".join(map(repr, ids[:5])) + (", …" if count > len(ids[:5]) else "")
        raise BadInput(
            "id_column",
            column,
            f"{count} ids occur more than once: {some}",
            "Give each document its own id, or choose one with --on-duplicate first or last",
        )
