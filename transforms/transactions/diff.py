"""Compare the documents of an input with the live ones, by id and by content hash.

A document is one small record: its id, the hashes of its text and its metadata, and where it lies.
Records are split into buckets by their ids, so that a bucket of both sides fits in memory.
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

ON_DUPLICATE = ("error", "first", "last")
#: What may become of a document. A duplicate is one that gave way to another of its id.
CHANGES = ("new", "changed", "metadata", "unchanged", "removed", "rejected", "duplicate", "copy")
#: Those of them that are records of the store alone.
STORED = frozenset({"removed", "copy"})

#: A record of either side: an input document has ``file`` and ``row``, and the reason why it can't
#: be embedded; a live one has the number of its segment, its first row there and how many it has.
#: One with a reason and no place is a reject of the store, see `refuse`.
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
#: The result: records of both sides joined, and what becomes of the document.
CHANGE_SCHEMA: pa.Schema = RECORD_SCHEMA.append(pa.field("change", pa.string()))

Ints = npt.NDArray[np.int64]


def compare(inputs: pa.Table, live: pa.Table, mode: str, on_duplicate: str) -> pa.Table:
    """What becomes of each document of a bucket.

    Args:
        inputs: records of the input, in any order.
        live: records of the store; an id should be there once.
        mode: with ``sync`` a live document that the input lacks is removed.
        on_duplicate: which of several input documents of one id counts: the ``last`` in the input's
            order, otherwise the first.

    Returns:
        Rows of `CHANGE_SCHEMA`, ordered by id. Each input record is there once: ``new``,
        ``changed`` or ``metadata`` (that alone changed) with the live record that it replaces,
        ``unchanged`` with the one that stays, ``rejected`` with the one that goes, if any, or
        ``duplicate``. Live records that go besides are ``removed``, or a ``copy`` where another
        one of the same id was met. Hashes are the input's, or the live one's where it stands alone.
    """
    inputs = inputs.sort_by([("file", "ascending"), ("row", "ascending")]).combine_chunks()
    live = live.sort_by([("segment", "ascending"), ("first", "ascending")]).combine_chunks()
    codes, live_codes, count = _codes(inputs.column("document_id"), live.column("document_id"))
    named = np.flatnonzero(codes >= 0)
    order = named if on_duplicate == "last" else named[::-1]
    chosen = np.full(count, -1)
    chosen[codes[order]] = order
    counts = codes < 0
    counts[chosen[chosen >= 0]] = True

    # Of several live records of one id, the one that is most like the input's stays.
    partner = chosen[live_codes]
    same_text, same_metadata = (
        _equal(live.column(name), inputs.column(name), partner)
        for name in ("text_hash", "metadata_hash")
    )
    likeness = same_text * 2 + (same_text & same_metadata)
    best = np.full(count, -1)
    ranked = np.lexsort((-np.arange(len(live_codes)), likeness))
    best[live_codes[ranked]] = ranked

    found = np.where(codes >= 0, best[codes], -1) if count else np.full(len(codes), -1)
    kind = np.full(len(codes), "new", object)
    met = found >= 0
    kind[met] = np.array(["changed", "changed", "metadata", "unchanged"], object)[
        likeness[found[met]]
    ]
    kind[pc.is_valid(inputs.column("reason")).to_numpy()] = "rejected"
    kind[~counts] = "duplicate"
    found[~counts] = -1

    alone = np.ones(len(live_codes), np.bool_)
    alone[found[found >= 0]] = False
    is_best = best[live_codes] == np.arange(len(live_codes))
    gone = alone & ((partner >= 0) | ~is_best | (mode == "sync"))
    rest = np.flatnonzero(gone)
    reasons = np.where(is_best[rest], "removed", "copy").astype(object)
    joined = _join(inputs, live, found, kind)
    others = live.take(pa.array(rest)).append_column("change", pa.array(reasons, pa.string()))
    return pa.concat_tables([joined, others]).sort_by(
        [(name, "ascending") for name in ("document_id", "file", "row", "segment", "first")]
    )


def refuse(inputs: pa.Table, refusals: pa.Table) -> pa.Table:
    """The input's records with the reasons of those that were rejected before for their text.

    Args:
        inputs: records of the input.
        refusals: id, text's hash and reason of rejects that no later run can take.
    """
    known = pc.unique(refusals.column("document_id"))
    places = np.flatnonzero(pc.is_in(inputs.column("document_id"), value_set=known).to_numpy())
    if not len(places):
        return inputs
    names = ("document_id", "text_hash")
    keys = zip(*(refusals.column(name).to_pylist() for name in names), strict=True)
    why = dict(zip(keys, refusals.column("reason").to_pylist(), strict=True))
    reasons = inputs.column("reason").to_pylist()
    chosen = inputs.take(pa.array(places))
    theirs = zip(*(chosen.column(name).to_pylist() for name in names), strict=True)
    for place, key in zip(places.tolist(), theirs, strict=True):
        reasons[place] = reasons[place] or why.get(key)
    column = RECORD_SCHEMA.get_field_index("reason")
    field = RECORD_SCHEMA.field(column)
    return inputs.set_column(column, field, pa.array(reasons, field.type))


def _codes(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> tuple[Ints, Ints, int]:
    """A number for each id, the same for the same one; -1 for null; and how many there are."""
    both = pa.chunked_array([*ids.chunks, *others.chunks], pa.string()).combine_chunks()
    encoded = pc.dictionary_encode(both)
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes[: len(ids)], codes[len(ids) :], len(encoded.dictionary)


def _equal(column: pa.ChunkedArray, other: pa.ChunkedArray, places: Ints) -> npt.NDArray[np.bool_]:
    """Whether each value is that of ``other`` at a place; not where the place is -1 or null."""
    taken = other.take(pa.array(places, mask=places < 0))
    same = pc.fill_null(pc.equal(column, taken), False)
    return same.to_numpy().astype(np.bool_)  # type: ignore[no-any-return]


def _join(inputs: pa.Table, live: pa.Table, found: Ints, kind: npt.NDArray[np.object_]) -> pa.Table:
    partners = live.take(pa.array(found, mask=found < 0))
    columns = [
        (partners if name in ("segment", "first", "rows") else inputs).column(name)
        for name in RECORD_SCHEMA.names
    ]
    return pa.table([*columns, pa.array(kind, pa.string())], schema=CHANGE_SCHEMA)


def input_records(table: pa.Table, file: int) -> pa.Table:
    """Records of input rows.

    Args:
        table: ``document_id, _row`` and, where hashes are wanted, ``text, metadata_hash, _reject``.
        file: the file's number.
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


def refusal_records(table: pa.Table) -> pa.Table:
    """Records of rejects that no later run can take, for `refuse`; they have no place.

    Args:
        table: ``document_id, text_hash, reason`` of rejects.
    """
    table = table.filter(pc.equal(table.column("reason"), NO_TOKENS))
    columns = {name: table.column(name) for name in ("document_id", "text_hash", "reason")}
    return _records(columns, table.num_rows)


def live_records(table: pa.Table, rows: Ints, segment: int) -> pa.Table:
    """Records of live passages.

    Args:
        table: ``document_id, text_hash, metadata_hash`` of passages in order.
        rows: their numbers in the segment; those of a document follow each other.
        segment: its number.
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
    """The records of each bucket; which one depends on the id alone, null ids go to the first."""
    ids = table.column("document_id").to_pylist()
    numbers = np.array(
        [zlib.crc32(name.encode()) % buckets if name is not None else 0 for name in ids], np.int64
    )
    order = np.argsort(numbers, kind="stable")
    edges = np.searchsorted(numbers[order], np.arange(buckets + 1))
    for bucket in np.flatnonzero(np.diff(edges)).tolist():
        yield bucket, table.take(pa.array(order[edges[bucket] : edges[bucket + 1]]))


def check_duplicates(ids: list[str], count: int, column: str) -> None:
    """Raise BadInput where ``count`` ids, ``ids`` among them, occur more than once."""
    if count:
        some = ", ".join(map(repr, ids[:5])) + (", …" if count > len(ids[:5]) else "")
        raise BadInput(
            f"{count} ids of column {column!r} occur more than once: {some}; give each document "
            "an id of its own, or say which one counts with --on-duplicate first or last"
        )
