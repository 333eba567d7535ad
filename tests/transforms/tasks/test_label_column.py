"""Labels of embedded passages, and the column that a head fills in."""

import numpy as np
import pyarrow as pa
import pytest

from tests.support.raising import raises
from tests.support.stores import DIM, make_chunk, make_identity, make_vectors
from transforms.catalog.options import ColumnOptions, LabelColumn
from transforms.catalog.plan import Plan
from transforms.errors import BadInput, Damaged
from transforms.ingest.label_column import label_field, label_marks
from transforms.ingest.part_tables import chunk_of
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import REJECT, VECTOR
from transforms.storage.vectors import vectors_to_arrow, vectors_to_numpy
from transforms.tasks.data.labels import Classes
from transforms.tasks.prediction.label_column import add_labels
from transforms.tasks.prediction.predict import choose_labels
from transforms.tasks.vector_heads.vector_head import VectorHead

FILE = FileInfo("a.parquet", 10, "v1")


@pytest.fixture
def head() -> VectorHead:
    classes = Classes(("a", "b", "c"))
    return VectorHead(
        classes, make_identity(), 5 * make_vectors(3, seed=3), np.zeros(3, np.float32)
    )


def label_of(head: VectorHead, *vectors: np.ndarray) -> str:
    """The label of a document, by its definition."""
    mean = np.mean(vectors, axis=0)
    scores = head.scores((mean / np.linalg.norm(mean))[None].astype(np.float32))
    return str(choose_labels(head.classes, scores)[0][0].as_py())


def with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def test_a_rejected_passage_does_not_count(head: VectorHead) -> None:
    chunk = make_chunk(3, 1, 20, last=False, rejects=2, seed=1)
    vectors = vectors_to_numpy(chunk.column(VECTOR).slice(0, 20))
    labels = add_labels(chunk, head, "topic").column("topic").to_pylist()
    pairs = [label_of(head, vectors[at], vectors[at + 1]) for at in range(0, 20, 2)]
    assert labels == [*np.repeat(pairs, 2).tolist(), None, None]
    # The first passage of a document whose label then is another.
    alone = [label_of(head, vectors[at + 1]) for at in range(0, 20, 2)]
    place = next(at for at in range(10) if alone[at] != pairs[at])
    reasons = chunk.column(REJECT).to_pylist()
    reasons[2 * place] = "fails alone"
    broken = with_column(chunk, REJECT, pa.array(reasons, pa.string()))
    found = add_labels(broken, head, "topic")
    assert chunk_of(found) == chunk_of(chunk)
    labels[2 * place], labels[2 * place + 1] = None, alone[place]
    assert found.column("topic").to_pylist() == labels


def test_a_passage_whose_vector_does_not_fit_the_store_does_not_count(head: VectorHead) -> None:
    chunk = make_chunk(0, 0, 20, last=True, seed=1)
    vectors = vectors_to_numpy(chunk.column(VECTOR)).copy()
    vectors[::2] *= 1e6
    large = with_column(chunk, VECTOR, vectors_to_arrow(vectors, pa.float32()))
    kept = vectors[1::2].astype(np.float16).astype(np.float32)
    found = add_labels(large, head, "topic", "float16").column("topic").to_pylist()
    assert found[::2] == [None] * 10
    assert found[1::2] == [label_of(head, vector) for vector in kept]


def test_a_chunk_of_rejects_alone_has_a_column_too(head: VectorHead) -> None:
    chunk = make_chunk(0, 0, 0, last=True, rejects=3)
    found = add_labels(chunk, head, "topic")
    assert found.column("topic").to_pylist() == [None] * 3
    assert found.schema.field("topic").type == pa.string()
    assert found.column(VECTOR).type.list_size == DIM


@pytest.mark.parametrize(
    ("theirs", "integers", "several", "kind"),
    [
        (None, False, False, pa.string()),
        (None, True, False, pa.int64()),
        (None, True, True, pa.list_(pa.int64())),
        (pa.string(), False, False, pa.string()),
        (pa.list_(pa.string()), False, True, pa.list_(pa.string())),
        (pa.null(), False, False, pa.string()),
        (pa.int32(), True, False, pa.int64()),
    ],
)
def test_the_column_has_the_type_of_the_labels_that_fits_the_store(
    theirs: pa.DataType | None, integers: bool, several: bool, kind: pa.DataType
) -> None:
    stored = [] if theirs is None else [pa.schema([("topic", theirs), ("year", pa.int16())])]
    assert label_field(LabelColumn("topic", "d", integers, several), stored).type == kind


@pytest.mark.parametrize("theirs", [pa.int64(), pa.bool_(), pa.list_(pa.string())])
def test_a_type_that_can_t_hold_labels_is_refused(theirs: pa.DataType) -> None:
    with raises(BadInput, "as", "topic") as caught:
        label_field(LabelColumn("topic", "d"), [pa.schema([("topic", theirs)])])
    assert str(theirs) in caught.value.problem


def test_marks_are_those_of_the_head() -> None:
    assert label_marks(ColumnOptions(), 2) == {}
    marks = label_marks(ColumnOptions(label=LabelColumn("topic", "d")), 2)
    assert {name: column.to_pylist() for name, column in marks.items()} == {"topic": ["d", "d"]}


def test_a_plan_with_labels_is_read_again_and_one_without_stays_as_it_was() -> None:
    label = LabelColumn("topic", "d", integers=True)
    schema = pa.schema([("year", pa.int16()), ("topic", pa.int64())])
    columns = ColumnOptions(metadata=(("year", "year"),), label=label)
    plan = Plan((FILE,), columns, schema, ())
    assert Plan.from_json(plan.to_json(), "plan.json") == plan
    assert "label" not in ColumnOptions().to_dict()


@pytest.mark.parametrize(
    "given",
    [
        ColumnOptions(metadata=(("year", "year"),)),
        ColumnOptions(metadata=(("year", "year"),), label=LabelColumn("topic", "e")),
        ColumnOptions(metadata=(("year", "old"),), label=LabelColumn("topic", "d")),
        ColumnOptions(label=LabelColumn("topic", "d")),
        ColumnOptions("key", metadata=(("year", "year"),), label=LabelColumn("topic", "d")),
    ],
)
def test_a_plan_must_have_the_columns_that_were_given(given: ColumnOptions) -> None:
    label = LabelColumn("topic", "d")
    schema = pa.schema([("year", pa.int16()), ("topic", pa.string())])
    plan = Plan((FILE,), ColumnOptions(metadata=(("year", "year"),), label=label), schema, ())
    with raises(Damaged, "file", "plan.json", "other columns"):
        plan.check_inputs([FILE], given, "plan.json")
    for fits in (plan.columns, ColumnOptions(all_columns=True, label=label)):
        plan.check_inputs([FILE], fits, "plan.json")
    with raises(Damaged, "file", "plan.json", "no input of the run"):
        plan.check_inputs([], plan.columns, "plan.json")
