"""Search many questions as a Beam job, which writes a run: one row per question and document.

Each worker opens the store once, then reads, embeds and answers one slice of questions at a time.
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
from transforms.runtime.checked_fn import CheckedFn
from transforms.search.options import SearchOptions
from transforms.search.question_check import QuestionCheck, check_questions
from transforms.search.questions import STANDARD_INPUT, read_named_questions
from transforms.search.store import Store
from transforms.storage import filesystem, input_files
from transforms.storage.output_files import writing
from transforms.storage.parquet_files import CheckedFile, open_parquet, reading, reading_input

#: The columns of a run; ranks count from 1.
RUN_SCHEMA: pa.Schema = pa.schema(
    [
        ("question_id", pa.string()),
        ("rank", pa.int32()),
        ("document_id", pa.string()),
        ("passage", pa.int32()),
        ("score", pa.float32()),
    ]
)
#: Questions of a slice.
_AT_ONCE = 1_024
_PART = re.compile(r"part-\d{6}-[0-9a-f]{16}\.parquet")
#: The questions of standard input, in the folder of the parts.
_QUESTIONS_FILE = "questions.parquet"
#: The key of a part's and of a run's metadata that has a `QuestionCheck`, if there is something to
#: tell.
_CHECK = "albeam.question_check"
_QUESTION, _ID = "question", "question_id"
#: Kinds of files that only a search without a Beam job reads.
_OTHER_KINDS = (".txt", ".jsonl", ".json")


def open_store(options: SearchOptions) -> Store:
    """Open the store of the options."""
    return Store.open(options.store, options.snapshot, options.model, options.device, options.dtype)


@dataclass(frozen=True)
class QuestionSlice:
    """Questions that are answered together: rows of one row group.

    Attributes:
        number: the slice's place among all slices.
        url: the file.
        group: the row group's number in the file.
        start, rows: the first row in the row group, and the number of rows.
        first: the number of the slice's first question among all questions.
    """

    number: int
    url: str
    group: int
    start: int
    rows: int
    first: int


def plan_questions(pattern: str, at_once: int = _AT_ONCE) -> list[QuestionSlice]:
    """Cut the questions of Parquet files into slices. Only the column of ids is read.

    Raises:
        BadInput: a file is missing or not Parquet, has no column ``question``, or an id occurs
            twice.
    """
    slices: list[QuestionSlice] = []
    ids = []
    first = 0
    for file in input_files.list_inputs((filesystem.absolute(pattern),)):
        if file.url.lower().endswith(_OTHER_KINDS):
            remedy = (
                f"Write it as Parquet with a column {_QUESTION!r}, or give --questions "
                f"{STANDARD_INPUT} and the file on standard input"
            )
            raise BadInput("questions", file.url, "is not Parquet, which --output needs", remedy)
        with reading_input(file.url, "questions"), filesystem.open_input(file.url) as source:
            parquet = CheckedFile(source)
            if _QUESTION not in parquet.schema_arrow.names:
                names = ", ".join(parquet.schema_arrow.names)
                problem = f"has no column {_QUESTION!r}, only {names}"
                raise BadInput("questions", file.url, problem, "Rename one of them")
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
        raise BadInput("questions", pattern, "has no rows", "Give at least one question")
    _check_ids(pattern, ids)
    return slices


def store_questions(folder: str) -> str:
    """Write the questions of standard input to a file that workers can read; return its URL.

    Raises:
        BadInput: standard input is empty, or a question or an id can't be used.
    """
    questions, ids = read_named_questions(STANDARD_INPUT)
    columns = {_QUESTION: pa.array(questions, pa.string())}
    if any(name is not None for name in ids):
        known = [None if name is None else str(name) for name in ids]
        columns[_ID] = pa.array(known, pa.string())
    url = filesystem.join(folder, _QUESTIONS_FILE)
    with writing(url) as path:
        pq.write_table(pa.table(columns), path)
    return url


def _as_text(url: str, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return ids.cast(pa.string())
    except pa.ArrowException as error:
        problem = f"has a column {_ID!r} of type {ids.type}"
        raise BadInput("questions", url, problem, "Give strings or whole numbers") from error


def _check_ids(pattern: str, ids: list[pa.ChunkedArray]) -> None:
    """Raise BadInput if an id occurs twice: a run could not tell the two questions apart."""
    chunks = [chunk for column in ids for chunk in column.chunks]
    counts = pc.value_counts(pa.chunked_array(chunks, pa.string()).drop_null())
    often = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(often):
        name, count = often[0].as_py().values()
        problem = f"has the {_ID} {name!r} {count} times"
        raise BadInput("questions", pattern, problem, "Give each question its own id")


def read_slice(piece: QuestionSlice) -> tuple[list[str], list[str]]:
    """Read the ids and texts of a slice. Without a column ``question_id``, numbers are the ids.

    Raises:
        BadInput: a question or an id is null or blank.
    """
    with reading_input(piece.url, "questions"), filesystem.open_input(piece.url) as source:
        parquet = CheckedFile(source)
        names = [name for name in (_ID, _QUESTION) if name in parquet.schema_arrow.names]
        table = parquet.read_row_group(piece.group, columns=names).slice(piece.start, piece.rows)
    questions = table.column(_QUESTION).to_pylist()
    if _ID in names:
        ids = table.column(_ID).to_pylist()
    else:
        ids = list(range(piece.first, piece.first + piece.rows))
    for place, (name, question) in enumerate(zip(ids, questions, strict=True)):
        named = name is not None and str(name).strip()
        if not named or not isinstance(question, str) or not question.strip():
            problem = (
                f"has question {question!r} and id {name!r} in row {piece.start + place} of row "
                f"group {piece.group}"
            )
            raise BadInput("questions", piece.url, problem, "Give both, or remove the row")
    return [str(name) for name in ids], questions


def answer(store: Store, piece: QuestionSlice, options: SearchOptions) -> pa.Table:
    """Return the rows of the run for a slice of questions, with `RUN_SCHEMA`."""
    ids, questions = read_slice(piece)
    found = store.rank(questions, options.rank)
    counts = [len(each.rows) for each in found]
    names = store.names(np.concatenate([each.rows for each in found]))
    columns = {
        _ID: pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(len(ids)), counts))),
        "rank": np.concatenate([np.arange(1, 1 + count, dtype=np.int32) for count in counts]),
        "document_id": names.column("document_id"),
        "passage": names.column("passage"),
        "score": np.concatenate([each.scores for each in found]).astype(np.float32),
    }
    table = pa.table(columns, schema=RUN_SCHEMA)
    if options.rank.mode == "lexical":
        return table
    check = check_questions(questions, store.encoder.tokenizer, store.snapshot.identity, ids)
    return table.replace_schema_metadata({_CHECK: check.to_json()})


def write_run(output: str, parts: list[tuple[int, str]]) -> int:
    """Join the parts of a run, in order, in one Parquet file. Return its number of rows.

    Args:
        output: the file's URL.
        parts: numbers and URLs of the parts.
    """
    rows, check = 0, QuestionCheck()
    with (
        writing(output) as path,
        pq.ParquetWriter(path, RUN_SCHEMA, compression="zstd") as writer,
    ):
        for _, url in sorted(parts):
            with open_parquet(url) as part, reading(url):
                table = part.read()
            writer.write_table(table)
            rows += table.num_rows
            known = (table.schema.metadata or {}).get(_CHECK.encode())
            check += QuestionCheck() if known is None else QuestionCheck.from_json(known)
        if check.notes():
            writer.add_key_value_metadata({_CHECK: check.to_json()})
    return rows


def check_of_run(file: pq.ParquetFile) -> QuestionCheck:
    """Return how many questions of a run the model read only in part."""
    known = (file.metadata.metadata or {}).get(_CHECK.encode())
    return QuestionCheck() if known is None else QuestionCheck.from_json(known)


def check_output(output: str, slices: list[QuestionSlice]) -> None:
    """Raise BadInput if the output would overwrite the questions."""
    for url in {piece.url for piece in slices}:
        if _real(url) == _real(output):
            problem = "is the file that holds the questions"
            raise BadInput("output", output, problem, "Give another name")


def _real(url: str) -> str:
    return os.path.realpath(filesystem.local_path(url)) if filesystem.is_local(url) else url


def parts_folder(output: str) -> str:
    """Return the name of a new folder for the parts of a run, next to the run's file."""
    return f"{output}.parts-{secrets.token_hex(8)}"


def remove_parts(folder: str) -> None:
    """Remove the parts of a run, with those of earlier attempts."""
    for name in filesystem.list_names(folder):
        if _PART.fullmatch(name) or name == _QUESTIONS_FILE:
            filesystem.remove(filesystem.join(folder, name))
    filesystem.remove_folder(folder)


class _AnswerFn(CheckedFn):
    def __init__(self, options: SearchOptions, folder: str) -> None:
        super().__init__()
        self._options, self._folder = options, folder

    def setup(self) -> None:
        super().setup()
        self._store = open_store(self._options)

    def process(self, element: QuestionSlice) -> Iterator[tuple[int, str]]:
        table = answer(self._store, element, self._options)
        stem = f"part-{element.number:06d}"
        with filesystem.put_by_content(self._folder, stem, ".parquet") as written:
            pq.write_table(table, written.path, compression="zstd")
        yield element.number, filesystem.join(self._folder, written.name)


class _WriteRunFn(CheckedFn):
    def __init__(self, output: str) -> None:
        super().__init__()
        self._output = output

    def process(self, _: None, parts: list[tuple[int, str]]) -> Iterator[int]:
        # Attempts at the same slice have the same number.
        yield write_run(self._output, list(dict(parts).items()))


class SearchQuestions(beam.PTransform):
    """A transform of `QuestionSlice`s into one Parquet file, which gives its number of rows.

    The file has `RUN_SCHEMA`. Its parts are written to ``folder`` and stay there.
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
