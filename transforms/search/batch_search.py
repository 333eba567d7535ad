"""Search many questions as a Beam job: a run, one row a question and document.

Questions are read, embedded and answered a slice at a time; a store is opened once a worker.
"""

import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.errors import BadInput
from transforms.search.options import RankOptions
from transforms.search.store import Store
from transforms.storage import filesystem, input_files
from transforms.storage.output_files import writing
from transforms.storage.parquet_files import reading_given

#: A row of a run: ranks count from 1.
RUN_SCHEMA: pa.Schema = pa.schema(
    [
        ("question_id", pa.string()),
        ("rank", pa.int32()),
        ("document_id", pa.string()),
        ("passage", pa.int32()),
        ("score", pa.float32()),
    ]
)
#: Questions that are answered at once.
_AT_ONCE = 1_024
_PART = re.compile(r"part-\d{6}-[0-9a-f]{16}\.parquet")
_QUESTION, _ID = "question", "question_id"
#: What questions may come as where they are answered one by one.
_OTHER_KINDS = (".txt", ".jsonl", ".json")


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        store: the store's URL.
        snapshot: the snapshot's number.
        rank: how many documents a question, and how they are ranked.
        model: where the store's model lies now, if it has moved.
        device, dtype: see `Store.open`.
    """

    store: str
    snapshot: int
    rank: RankOptions = RankOptions(100)
    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"

    def open(self) -> Store:
        """The store."""
        return Store.open(self.store, self.snapshot, self.model, self.device, self.dtype)


@dataclass(frozen=True)
class QuestionSlice:
    """Questions that are answered at once: rows of a row group.

    Attributes:
        number: its place among all slices.
        url: the file.
        group: the row group.
        start, rows: within it.
        first: the number of its first question among all.
    """

    number: int
    url: str
    group: int
    start: int
    rows: int
    first: int


def plan_questions(pattern: str, at_once: int = _AT_ONCE) -> list[QuestionSlice]:
    """Cut the questions of Parquet files into slices; of their columns, ids alone are read.

    Raises:
        BadInput: there is no such file, it is no Parquet, has no column ``question``, or an id
            occurs twice.
    """
    slices: list[QuestionSlice] = []
    ids = []
    first = 0
    for file in input_files.list_inputs((filesystem.absolute(pattern),)):
        if file.url.lower().endswith(_OTHER_KINDS):
            raise BadInput(
                f"questions {file.url!r} are not Parquet, which --output needs: write them as a "
                f"Parquet file with a column {_QUESTION!r}, or leave --output out"
            )
        with reading_given(file.url, "questions"), filesystem.open_input(file.url) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            if _QUESTION not in parquet.schema_arrow.names:
                raise BadInput(
                    f"questions {file.url!r} have no column {_QUESTION!r}, but "
                    f"{', '.join(parquet.schema_arrow.names)}; rename one"
                )
            if _ID in parquet.schema_arrow.names:
                column = parquet.read(columns=[_ID]).column(_ID)
            else:
                column = pa.chunked_array([np.arange(first, first + parquet.metadata.num_rows)])
            ids.append(_as_text(file.url, column))
            for group in range(parquet.metadata.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                for start in range(0, rows, at_once):
                    count = min(at_once, rows - start)
                    number = len(slices)
                    slices.append(QuestionSlice(number, file.url, group, start, count, first))
                    first += count
    if not slices:
        raise BadInput(f"questions {pattern!r} hold no row; give some")
    _check_ids(pattern, ids)
    return slices


def _as_text(url: str, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return ids.cast(pa.string())
    except pa.ArrowException as error:
        raise BadInput(
            f"questions {url!r} have a {_ID} of type {ids.type}; give strings or whole numbers"
        ) from error


def _check_ids(pattern: str, ids: list[pa.ChunkedArray]) -> None:
    """Raise BadInput where an id occurs twice: a run would mix what its questions find."""
    chunks = [chunk for column in ids for chunk in column.chunks]
    counts = pc.value_counts(pa.chunked_array(chunks, pa.string()).drop_null())
    often = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(often):
        name, count = often[0].as_py().values()
        raise BadInput(
            f"questions {pattern!r} have the {_ID} {name!r} {count} times; give each question an "
            "id of its own"
        )


def read_questions(piece: QuestionSlice) -> tuple[list[str], list[str]]:
    """Ids and texts of a slice's questions; where there is no ``question_id``, it is the number.

    Raises:
        BadInput: a question or an id is null or blank.
    """
    with reading_given(piece.url, "questions"), filesystem.open_input(piece.url) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        names = [name for name in (_ID, _QUESTION) if name in parquet.schema_arrow.names]
        table = parquet.read_row_group(piece.group, columns=names).slice(piece.start, piece.rows)
    questions = table.column(_QUESTION).to_pylist()
    if _ID in names:
        ids = table.column(_ID).to_pylist()
    else:
        ids = list(range(piece.first, piece.first + piece.rows))
    for place, (name, question) in enumerate(zip(ids, questions, strict=True)):
        said = name is not None and str(name).strip()
        if not said or not isinstance(question, str) or not question.strip():
            raise BadInput(
                f"row {piece.start + place} of row group {piece.group} of {piece.url!r} has "
                f"question {question!r} and id {name!r}; give both, or take the row out"
            )
    return [str(name) for name in ids], questions


def answer(store: Store, piece: QuestionSlice, options: SearchOptions) -> pa.Table:
    """The rows of a run for a slice of questions, `RUN_SCHEMA`."""
    ids, questions = read_questions(piece)
    found = store.rank_questions(questions, options.rank)
    counts = [len(each.rows) for each in found]
    names = store.names(np.concatenate([each.rows for each in found]))
    columns = {
        _ID: pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(len(ids)), counts))),
        "rank": np.concatenate([np.arange(1, 1 + count, dtype=np.int32) for count in counts]),
        "document_id": names.column("document_id"),
        "passage": names.column("passage"),
        "score": np.concatenate([each.scores for each in found]).astype(np.float32),
    }
    return pa.table(columns, schema=RUN_SCHEMA)


def write_run(output: str, parts: list[tuple[int, str]]) -> int:
    """Join the parts of a run, in order, in one Parquet file; how many rows it has.

    Args:
        output: the file's URL.
        parts: numbers and URLs.
    """
    rows = 0
    with (
        writing(output) as path,
        pq.ParquetWriter(path, RUN_SCHEMA, compression="zstd") as writer,
    ):
        for _, url in sorted(parts):
            with filesystem.open_input(url) as source:
                table = pq.read_table(source)
            writer.write_table(table)
            rows += table.num_rows
    return rows


def check_output(output: str, slices: list[QuestionSlice]) -> None:
    """Raise BadInput where the questions themselves would be written over."""
    for url in {piece.url for piece in slices}:
        if _real(url) == _real(output):
            raise BadInput(f"output {output!r} is the file of the questions; give another name")


def _real(url: str) -> str:
    return os.path.realpath(filesystem.local_path(url)) if filesystem.is_local(url) else url


def parts_folder(output: str) -> str:
    """A new folder beside a run for its parts; no other run has it."""
    return f"{output}.parts-{secrets.token_hex(8)}"


def remove_parts(folder: str) -> None:
    """Remove the parts of a run, those too that an earlier try of a slice has left."""
    for name in filesystem.list_names(folder):
        if _PART.fullmatch(name):
            filesystem.remove(filesystem.join(folder, name))
    filesystem.remove_folder(folder)


class _AnswerFn(beam.DoFn):
    def __init__(self, options: SearchOptions, folder: str) -> None:
        self._options, self._folder = options, folder

    def setup(self) -> None:
        self._store = self._options.open()

    def process(self, element: QuestionSlice) -> Iterator[tuple[int, str]]:
        table = answer(self._store, element, self._options)
        stem = f"part-{element.number:06d}"
        with filesystem.put_by_content(self._folder, stem, ".parquet") as written:
            pq.write_table(table, written.path, compression="zstd")
        yield element.number, filesystem.join(self._folder, written.name)


class _WriteRunFn(beam.DoFn):
    def __init__(self, output: str) -> None:
        self._output = output

    def process(self, _: None, parts: list[tuple[int, str]]) -> Iterator[int]:
        # A slice that was answered twice has the same number.
        yield write_run(self._output, list(dict(parts).items()))


class SearchQuestions(beam.PTransform):
    """`QuestionSlice`s to one Parquet file with `RUN_SCHEMA`; gives its number of rows.

    Its parts are written to ``folder``, and left there.
    """

    def __init__(self, options: SearchOptions, folder: str, output: str) -> None:
        super().__init__()
        self._options, self._folder, self._output = options, folder, output

    def expand(self, pcoll: beam.PCollection[QuestionSlice]) -> beam.PCollection[int]:
        """Spread the slices over the workers, then wire `answer` and `write_run`."""
        answered = (
            pcoll
            | "Spread" >> beam.Reshuffle()
            | "Answer"
            >> beam.ParDo(_AnswerFn(self._options, self._folder)).with_output_types(tuple[int, str])
        )
        write = beam.ParDo(_WriteRunFn(self._output), beam.pvalue.AsList(answered))
        start = pcoll.pipeline | "Start" >> beam.Create([None])
        return start | "WriteRun" >> write.with_output_types(int)
