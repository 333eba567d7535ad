"""Predictions of documents from tables of embedded passages."""

import numpy as np
import pyarrow as pa
import pytest

from tests.support.raising import raises
from tests.support.stores import add_segment, make_chunk, make_identity, make_vectors
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.ingest.part_tables import chunk_of
from transforms.storage.schema import REJECT, VECTOR
from transforms.storage.vectors import vectors_to_numpy
from transforms.tasks.data.labels import Classes
from transforms.tasks.prediction.documents import stored_documents
from transforms.tasks.prediction.label_column import add_labels, check_column
from transforms.tasks.prediction.predict import (
    PredictionFormat,
    choose_labels,
    gather_documents,
    label_type,
    predict_documents,
)
from transforms.tasks.vector_heads.vector_head import VectorHead


def make_head(classes: Classes) -> VectorHead:
    count = len(classes.names)
    return VectorHead(
        classes, make_identity(), 5 * make_vectors(count, seed=3), np.zeros(count, np.float32)
    )


ABC = Classes(("a", "b", "c"))


def test_passages_become_documents_and_rejects_have_no_part_in_them() -> None:
    chunk = make_chunk(0, 2, 6, last=False, rejects=2)
    documents, vectors = gather_documents(chunk)
    assert documents.num_rows == 5
    assert documents.column(REJECT).to_pylist() == [None] * 3 + ["empty text"] * 2
    passages = vectors_to_numpy(chunk.column(VECTOR).slice(0, 6))
    means = passages.reshape(3, 2, -1).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.allclose(vectors[:3], means, atol=1e-6)


def test_a_document_with_a_rejected_passage_is_rejected() -> None:
    chunk = make_chunk(0, 0, 4, last=True)
    place = chunk.schema.get_field_index(REJECT)
    reasons = pa.array([None, None, None, "non-finite vector"], pa.string())
    documents, _ = gather_documents(chunk.set_column(place, chunk.schema.field(place), reasons))
    assert documents.column(REJECT).to_pylist() == [None, "non-finite vector"]


def test_a_chunk_keeps_its_mark() -> None:
    chunk = make_chunk(3, 2, 6, last=True, rejects=1)
    found = predict_documents(chunk, make_head(ABC))
    assert chunk_of(found) == chunk_of(chunk)
    assert found.column("label").type == pa.string()
    scores = np.array(found.column("scores").to_pylist())
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert set(PredictionFormat(ABC).schema.names) <= set(found.column_names)


def test_labels_have_the_type_that_they_were_learnt_with() -> None:
    scores = np.array([[0.2, 0.8], [0.6, 0.7], [0.1, 0.3]], np.float32)
    numbers = Classes(("-1", "7"), integers=True)
    labels, best = choose_labels(numbers, scores)
    assert labels.to_pylist() == [7, 7, 7]
    assert best.tolist() == pytest.approx([0.8, 0.7, 0.3])
    several = Classes(("-1", "7"), integers=True, several=True)
    labels, _ = choose_labels(several, scores)
    assert labels.to_pylist() == [[7], [-1, 7], []]
    assert labels.type == label_type(several)


def test_nothing_is_predicted_of_nothing() -> None:
    empty = make_chunk(0, 0, 2, last=True).slice(0, 0)
    assert predict_documents(empty, make_head(ABC)).num_rows == 0


def test_all_passages_of_a_document_get_its_label() -> None:
    chunk = make_chunk(0, 0, 6, last=True, rejects=1)
    head = make_head(ABC)
    found = add_labels(chunk, head, "topic")
    assert chunk_of(found) == chunk_of(chunk)
    labels = found.column("topic").to_pylist()
    predicted = predict_documents(chunk, head).column("label").to_pylist()
    assert labels == [*np.repeat(predicted[:3], 2).tolist(), None]


def test_live_documents_are_found_once_by_their_ids(tmp_path: object) -> None:
    store = f"{tmp_path}/store"
    add_segment(store, "one", {"a": 1, "b": 3, "c": 2}, parts=2)
    add_segment(store, "two", {"d": 2, "b": 1}, seed=1)
    found = stored_documents(store, read_snapshot(store), pa.chunked_array([["d", "x", "b", "c"]]))
    # The later b replaced the earlier one.
    assert sorted(found.rows.tolist()) == [0, 2, 3]
    assert len(found) == len(found.texts) == len(found.vectors) == 3
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["year", "vector", "_file", ""])
def test_a_column_that_is_there_is_refused(tmp_path: object, name: str) -> None:
    store = f"{tmp_path}/store"
    snapshot = add_segment(store, "one", {"a": 1})
    with raises(BadInput, "as", name):
        check_column(name, store, snapshot)
