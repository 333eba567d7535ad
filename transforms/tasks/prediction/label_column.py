"""Write what a head predicts into a store's metadata, with the vectors carried over.

All live rows are written again as one segment, as a compaction does, with one more column. The
hashes of the documents' own metadata stay, so that a sync with the same input changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Part, Plan
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment
from transforms.errors import BadInput
from transforms.ingest.read_parts import Reader
from transforms.storage.schema import REJECT, RESERVED
from transforms.tasks.prediction.predict import (
    choose_labels,
    first_passages,
    gather_documents,
    label_type,
)
from transforms.tasks.vector_heads.head_files import read_head
from transforms.tasks.vector_heads.vector_head import VectorHead
from transforms.transactions.compaction import Source, compacted_format
from transforms.transactions.compaction_rows import open_live


def check_column(column: str, store: str, snapshot: Snapshot) -> None:
    """Raise BadInput if a column can't be added to the segments of a snapshot."""
    if not column.strip() or column in RESERVED or column.startswith("_"):
        raise BadInput("as", column, "is no name for a metadata column", "Give one such as topic")
    for ref in snapshot.segments:
        if column in read_segment(store, ref).metadata.names:
            problem = f"is a column of the store already, in its segment {ref.name}"
            raise BadInput("as", column, problem, "Give the name of a new column")


def labelled_format(sources: Sequence[Source], head: VectorHead, column: str) -> PartFormat:
    """Return the format of the new segment's parts: that of a compaction, with the column."""
    form = compacted_format(sources)
    metadata = form.metadata.append(pa.field(column, label_type(head.classes)))
    return PartFormat(form.identity, form.vector_dtype, metadata)


def labelled_name(chosen: Sequence[SegmentRef], head_digest: str, column: str) -> str:
    """Return the name of the new segment, derived from the old ones, the head and the column."""
    refs = [ref.to_dict() for ref in chosen]
    return segment_name({"label": refs, "head": head_digest, "column": column})


def open_labelled(
    chosen: Sequence[SegmentRef], head: str, column: str, paths: SegmentPaths, plan: Plan
) -> Reader:
    """Return the reader of live rows with the new column; ``head`` is the folder of the head."""
    return functools.partial(
        _read_labelled, open_live(chosen, paths, plan), read_head(head), column
    )


def _read_labelled(read: Reader, head: VectorHead, column: str, part: Part) -> Iterator[pa.Table]:
    for table in read(part):
        yield add_labels(table, head, column)


def add_labels(table: pa.Table, head: VectorHead, column: str) -> pa.Table:
    """Return a chunk of embedded passages with the label of each passage's document.

    A rejected row has none.
    """
    documents, vectors = gather_documents(table)
    labels, _ = choose_labels(head.classes, head.scores(vectors))
    places = first_passages(table)
    document = np.searchsorted(places, np.arange(table.num_rows), side="right") - 1
    good = pc.is_null(documents.column(REJECT)).to_numpy()[document]
    field = pa.field(column, label_type(head.classes))
    return table.append_column(field, labels.take(pa.array(document, mask=~good)))
