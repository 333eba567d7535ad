"""Slices of the questions of a Beam job: each is read and answered as one element."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.errors import BadInput
from transforms.search.questions import STANDARD_INPUT, read_named_questions
from transforms.storage import filesystem, input_files
from transforms.storage.output_files import writing
from transforms.storage.parquet_files import CheckedFile, reading_input

#: The columns of questions.
QUESTION, ID = "question", "question_id"
#: The questions of standard input, in the folder of the parts.
QUESTIONS_FILE = "questions.parquet"
#: Questions of a slice.
_AT_ONCE = 1_024
#: Kinds of files that only a search without a Beam job reads.
_OTHER_KINDS = (".txt", ".jsonl", ".json")


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
                f"Write it as Parquet with a column {QUESTION!r}, or give --questions "
                f"{STANDARD_INPUT} and the file on standard input"
            )
            raise BadInput("questions", file.url, "is not Parquet, which --output needs", remedy)
        with reading_input(file.url, "questions"), filesystem.open_input(file.url) as source:
            parquet = CheckedFile(source)
            parquet.check_single((ID, QUESTION))
            if QUESTION not in parquet.schema_arrow.names:
                names = ", ".join(parquet.schema_arrow.names)
                problem = f"has no column {QUESTION!r}, only {names}"
                raise BadInput("questions", file.url, problem, "Rename one of them")
            if ID in parquet.schema_arrow.names:
                column = parquet.read(columns=[ID]).column(ID)
            else:
                column = pa.chunked_array([np.arange(first, first + parquet.metadata.num_rows)])
            ids.append(_as_text(file.url, column))
            for group, rows in enumerate(parquet.group_rows):
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
    columns = {QUESTION: pa.array(questions, pa.string())}
    if any(name is not None for name in ids):
        known = [None if name is None else str(name) for name in ids]
        columns[ID] = pa.array(known, pa.string())
    url = filesystem.join(folder, QUESTIONS_FILE)
    with writing(url) as path:
        pq.write_table(pa.table(columns), path)
    return url


def read_slice(piece: QuestionSlice) -> tuple[list[str], list[str]]:
    """Read the ids and texts of a slice. Without a column ``question_id``, numbers are the ids.

    Raises:
        BadInput: a question or an id is null or blank.
    """
    with reading_input(piece.url, "questions"), filesystem.open_input(piece.url) as source:
        parquet = CheckedFile(source)
        parquet.check_single((ID, QUESTION))
        names = [name for name in (ID, QUESTION) if name in parquet.schema_arrow.names]
        table = parquet.read_row_group(piece.group, columns=names).slice(piece.start, piece.rows)
    questions = table.column(QUESTION).to_pylist()
    if ID in names:
        ids = table.column(ID).to_pylist()
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


def _as_text(url: str, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return ids.cast(pa.string())
    except pa.ArrowException as error:
        problem = f"has a column {ID!r} of type {ids.type}"
        raise BadInput("questions", url, problem, "Give strings or whole numbers") from error


def _check_ids(pattern: str, ids: list[pa.ChunkedArray]) -> None:
    """Raise BadInput if an id occurs twice: a run could not tell the two questions apart."""
    chunks = [chunk for column in ids for chunk in column.chunks]
    counts = pc.value_counts(pa.chunked_array(chunks, pa.string()).drop_null())
    often = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(often):
        name, count = often[0].as_py().values()
        problem = f"has the {ID} {name!r} {count} times"
        raise BadInput("questions", pattern, problem, "Give each question its own id")
