"""What a head predicts becomes a metadata column of a store.

While documents are embedded, `LabelPassages` labels them. For a store that is there, all live rows
are written again as one segment, as a compaction does, with one more column and the same vectors.
The hashes of the documents' own metadata stay, so that a sync with the same input changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.options import LabelColumn
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Part, Plan
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment
from transforms.errors import BadInput
from transforms.ingest.read_parts import Reader
from transforms.ingest.row_errors import naming_rows
from transforms.models.identity import ModelIdentity
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import arrow_coder  # noqa: F401
from transforms.storage.schema import FILE, REJECT, RESERVED, ROW, VECTOR
from transforms.storage.vectors import vectors_to_numpy
from transforms.tasks.prediction.predict import choose_labels, first_passages, label_type
from transforms.tasks.vector_heads.head_files import read_head, read_same_head
from transforms.tasks.vector_heads.vector_head import VectorHead, document_vectors
from transforms.transactions.compaction import Source, compacted_format
from transforms.transactions.compaction_rows import open_live


def check_column(column: str, store: str, snapshot: Snapshot) -> None:
    """Raise BadInput if a column can't be added to the segments of a snapshot."""
    check_name(column)
    for ref in snapshot.segments:
        if column in read_segment(store, ref).metadata.names:
            problem = f"is a column of the store already, in its segment {ref.name}"
            raise BadInput("as", column, problem, "Give the name of a new column")


def check_name(column: str) -> None:
    """Raise BadInput if a metadata column can't have a name."""
    if not column.strip() or column in RESERVED or column.startswith("_"):
        raise BadInput("as", column, "is no name for a metadata column", "Give one such as topic")


def find_label(folder: str, column: str, encoder: ModelIdentity) -> LabelColumn:
    """Return the column that a head fills in while an encoder embeds.

    Args:
        folder: the user's name for the folder of the head.
        column: the name of the column.
        encoder: the encoder that a run uses.

    Raises:
        BadInput: there is no head on vectors of this encoder, or the name can't be used.
    """
    check_name(column)
    try:
        head = read_head(folder)
    except BadInput as error:
        raise BadInput("classify", folder, error.problem, error.remedy) from error
    if difference := head.encoder.difference(encoder):
        problem = (
            f"was fitted on vectors of the encoder {head.encoder.name}, and this run embeds with "
            f"{encoder.name} ({difference})"
        )
        remedy = "Embed with that encoder and its options, or fit a head on a store of this one"
        raise BadInput("classify", folder, problem, remedy)
    return LabelColumn(column, head.digest(), head.classes.integers, head.classes.several)


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
    chosen: Sequence[SegmentRef],
    folder: str,
    digest: str,
    column: str,
    paths: SegmentPaths,
    plan: Plan,
) -> Reader:
    """Return the reader of live rows with the new column, of the head in a folder."""
    head = read_same_head(folder, digest)
    return functools.partial(_read_labelled, open_live(chosen, paths, plan), head, column)


def _read_labelled(read: Reader, head: VectorHead, column: str, part: Part) -> Iterator[pa.Table]:
    for table in read(part):
        yield add_labels(table, head, column)


def add_labels(
    table: pa.Table, head: VectorHead, column: str, vector_dtype: str = "float32"
) -> pa.Table:
    """Return a chunk of embedded passages with the label of each passage's document.

    A rejected row has none, and does not count among the passages of its document: a store won't
    have it.

    Args:
        table: passages with ``vector`` and the source columns; a document's passages follow each
            other.
        head: the head.
        column: the name of the column of labels.
        vector_dtype: the dtype of stored vectors. Labels are those that the head gives for these.
    """
    good = np.flatnonzero(pc.is_null(table.column(REJECT)).to_numpy())
    kept = table.select([FILE, ROW, VECTOR]).take(pa.array(good))
    with np.errstate(over="ignore"):
        vectors = vectors_to_numpy(kept.column(VECTOR)).astype(vector_dtype)
    # The writer rejects what has no vector in the dtype of the store.
    finite = np.isfinite(vectors).all(axis=1)
    good, kept, vectors = good[finite], kept.filter(pa.array(finite)), vectors[finite]
    document = np.full(table.num_rows, -1)
    field = pa.field(column, label_type(head.classes))
    labels = pa.nulls(0, field.type)
    if len(good):
        places = first_passages(kept)
        document[good] = np.searchsorted(places, np.arange(len(good)), side="right") - 1
        scores = head.scores(document_vectors(places, vectors))
        labels, _ = choose_labels(head.classes, scores)
    return table.append_column(field, labels.take(pa.array(document, mask=document < 0)))


class _LabelFn(CheckedFn):
    def __init__(self, folder: str, label: LabelColumn, vector_dtype: str) -> None:
        super().__init__()
        self._folder, self._label, self._vector_dtype = folder, label, vector_dtype

    def setup(self) -> None:
        super().setup()
        self._head = read_same_head(self._folder, self._label.head)

    def process(self, element: pa.Table) -> Iterator[pa.Table]:
        with naming_rows(element, "labelled"):
            yield add_labels(element, self._head, self._label.name, self._vector_dtype)


class LabelPassages(beam.PTransform):
    """The transform from tables of embedded passages to such tables with a column of labels."""

    def __init__(self, folder: str, label: LabelColumn, vector_dtype: str = "float32") -> None:
        """Label with a head.

        Args:
            folder: the folder of the head, which every worker must have.
            label: the column; a worker whose head has another digest fails.
            vector_dtype: the dtype of stored vectors.
        """
        super().__init__()
        self._arguments = (folder, label, vector_dtype)

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[pa.Table]:
        """Wire `add_labels`."""
        return pcoll | "Label" >> beam.ParDo(_LabelFn(*self._arguments)).with_output_types(pa.Table)
