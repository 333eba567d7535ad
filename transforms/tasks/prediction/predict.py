"""Predict the classes of documents from the vectors of their passages, in bulk.

The transform stands where `EmbedPassages` ends: it takes tables of embedded passages, and gives
tables of documents that `WriteParts` writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.ingest.label_column import label_type as column_type
from transforms.ingest.row_errors import naming_rows
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import arrow_coder  # noqa: F401
from transforms.storage.schema import FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS, VECTOR
from transforms.storage.vectors import vectors_to_numpy
from transforms.tasks.data.labels import Classes
from transforms.tasks.networks.text_classifier import TextClassifier
from transforms.tasks.vector_heads.head_files import read_head, read_same_head
from transforms.tasks.vector_heads.vector_head import Scores, VectorHead, Vectors, document_vectors

#: The key of the classes in a predictions file's metadata: a JSON array of names in the order of
#: ``scores``.
CLASSES_KEY = b"albeam.classes"


@dataclass(frozen=True)
class PredictionFormat:
    """The format of files of predictions: ``document_id, label, score, scores``.

    Attributes:
        classes: the classes of the head.
        vector_dtype: of the vectors that were read.
    """

    classes: Classes
    vector_dtype: str = "float32"

    @cached_property
    def schema(self) -> pa.Schema:
        """Return the schema. ``scores`` has the probability of each class, in their order."""
        fields = [
            pa.field("document_id", pa.string()),
            pa.field("label", label_type(self.classes)),
            pa.field("score", pa.float32()),
            pa.field("scores", pa.list_(pa.float32())),
        ]
        return pa.schema(fields, metadata={CLASSES_KEY: json.dumps(self.classes.names)})


def label_type(classes: Classes) -> pa.DataType:
    """Return the type of a column of labels: text, whole numbers, or lists of them."""
    return column_type(classes.integers, classes.several)


def choose_labels(classes: Classes, scores: Scores) -> tuple[pa.Array, npt.NDArray[np.float32]]:
    """Return the label of each document with its score, of ``scores`` ``[documents, classes]``.

    With several classes a document, the label is the list of those with a score of at least 0.5,
    and the score is the highest of all.
    """
    one = pa.int64() if classes.integers else pa.string()
    names = pa.array(classes.names, pa.string()).cast(one)
    best = scores.max(axis=1, initial=0.0)
    if not classes.several:
        return names.take(pa.array(scores.argmax(axis=1))), best
    rows, places = np.nonzero(scores >= 0.5)
    offsets = np.searchsorted(rows, np.arange(len(scores) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(places))), best


def first_passages(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the rows at which the documents of a chunk begin."""
    rows = table.column(ROW).to_numpy()
    files = table.column(FILE).combine_chunks().dictionary_encode().indices.to_numpy()
    begins = np.ones(table.num_rows, np.bool_)
    begins[1:] = (rows[1:] != rows[:-1]) | (files[1:] != files[:-1])
    return np.flatnonzero(begins)


def gather_documents(table: pa.Table) -> tuple[pa.Table, Vectors]:
    """Return a row for each document of a chunk of embedded passages, and their vectors.

    Args:
        table: passages with ``vector`` and the source columns; a document's passages follow each
            other.

    Returns:
        The first row of each document, without ``vector``, and float32 ``[documents, dim]``. A
        document with a rejected passage is rejected for its reason, and its vector means nothing.
    """
    places = first_passages(table)
    reasons = table.column(REJECT)
    vectors = np.zeros((table.num_rows, table.column(VECTOR).type.list_size), np.float32)
    good = np.flatnonzero(pc.is_null(reasons).to_numpy())
    vectors[good] = vectors_to_numpy(table.column(VECTOR).take(pa.array(good)))
    first = table.drop_columns([VECTOR]).take(pa.array(places))
    if len(good) < table.num_rows:
        document = np.searchsorted(places, np.arange(table.num_rows), side="right") - 1
        bad: list[str | None] = [None] * len(places)
        for row in np.flatnonzero(pc.is_valid(reasons).to_numpy())[::-1].tolist():
            bad[document[row]] = reasons[row].as_py()
        place = first.schema.get_field_index(REJECT)
        first = first.set_column(place, first.schema.field(place), pa.array(bad, pa.string()))
    return first, document_vectors(places, vectors) if len(places) else vectors


def predict_documents(table: pa.Table, head: VectorHead) -> pa.Table:
    """Predict the classes of the documents of a chunk.

    Args:
        table: passages, as `EmbedPassages` gives them.
        head: the head.

    Returns:
        A row for each document, with the columns of `PredictionFormat` and the source columns;
        the mark of the chunk is kept.
    """
    documents, vectors = gather_documents(table)
    found = _predictions(documents, head.classes, head.scores(vectors))
    return found.replace_schema_metadata(table.schema.metadata)


def predict_texts(table: pa.Table, classifier: TextClassifier) -> pa.Table:
    """Predict the classes of texts; as `predict_documents`, of a table that `ReadParts` gives."""
    classes = classifier.settings.classes
    good = np.flatnonzero(pc.is_null(table.column(REJECT)).to_numpy())
    scores = np.zeros((table.num_rows, len(classes.names)), np.float32)
    scores[good] = classifier.scores(table.column("text").take(pa.array(good)).to_pylist())
    documents = table.append_column("text_hash", pa.nulls(table.num_rows, HASH))
    return _predictions(documents, classes, scores).replace_schema_metadata(table.schema.metadata)


def _predictions(documents: pa.Table, classes: Classes, scores: Scores) -> pa.Table:
    """Return documents with their labels and scores ``[documents, classes]``."""
    labels, best = choose_labels(classes, scores)
    offsets = np.arange(len(scores) + 1, dtype=np.int32) * len(classes.names)
    flat = pa.array(scores.reshape(-1), pa.float32())
    columns = {
        "document_id": documents.column("document_id"),
        "label": labels,
        "score": pa.array(best, pa.float32()),
        "scores": pa.ListArray.from_arrays(pa.array(offsets), flat),
        "text": documents.column("text"),
        "text_hash": documents.column("text_hash"),
        TOKENS: pa.nulls(len(scores), TOKEN_FIELD.type),
        FILE: documents.column(FILE),
        ROW: documents.column(ROW),
        REJECT: documents.column(REJECT),
    }
    return pa.table(columns)


class _PredictFn(CheckedFn):
    def __init__(self, folder: str, digest: str | None) -> None:
        super().__init__()
        self._folder, self._digest = folder, digest

    def setup(self) -> None:
        super().setup()
        folder, digest = self._folder, self._digest
        self._head = read_head(folder) if digest is None else read_same_head(folder, digest)

    def process(self, element: pa.Table) -> Iterator[pa.Table]:
        with naming_rows(element, "predicted"):
            yield predict_documents(element, self._head)


class Predict(beam.PTransform):
    """The transform from tables of embedded passages to tables of documents with predictions."""

    def __init__(self, head: str, digest: str | None = None) -> None:
        """Predict with the head in a folder, which every worker must have.

        Args:
            head: the folder.
            digest: the digest of the head; a worker that has another one fails.
        """
        super().__init__()
        self._head, self._digest = head, digest

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[pa.Table]:
        """Wire `predict_documents`."""
        predict = beam.ParDo(_PredictFn(self._head, self._digest))
        return pcoll | "Predict" >> predict.with_output_types(pa.Table)
