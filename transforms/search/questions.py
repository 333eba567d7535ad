"""Read questions from files and from standard input."""

import functools
import json
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from typing import Any

from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.arrow_values import plain_rows
from transforms.storage.parquet_files import CheckedFile, reading_input

#: The option or thing that errors name.
_THING = "questions"
#: What is given instead of a file to read standard input, and how errors call it.
STANDARD_INPUT, _STANDARD_INPUT_NAME = "-", "standard input"
_TEXT, _JSON, _PARQUET = ".txt", ".jsonl", ".parquet"
_SUFFIXES = {".txt": _TEXT, ".jsonl": _JSON, ".json": _JSON, ".parquet": _PARQUET}
#: The beginning of an object in JSON.
_OBJECT = re.compile(rb'\s*\{\s*["}]')
#: How many questions measure the recall of an index.
_RECALL_QUESTIONS = 512


def evenly(items: Sequence[str], most: int) -> list[str]:
    """Return at most ``most`` of the items, evenly spaced."""
    step = -(-len(items) // most)
    return list(items[::step]) if items else []


def read_questions(url: str) -> list[str]:
    """Read the questions of a ``.txt`` (one per line), ``.jsonl`` or ``.parquet`` file.

    ``-`` is standard input, in any of these formats.

    Raises:
        BadInput: the file is missing or of another kind, or a row has no ``question`` or a blank
            one.
    """
    return read_named_questions(url)[0]


def read_named_questions(url: str) -> tuple[list[str], list[object]]:
    """Read questions, and the ``question_id`` of each, None where there is none.

    Takes and raises what `read_questions` does.
    """
    if _kind(url) == _TEXT:
        lines = _read_text(url).split("\n")
        questions = [line.strip() for line in lines if line.strip()]
        ids: list[object] = [None] * len(questions)
    else:
        rows = read_rows(url, ("question",))
        questions = [question_text(url, number, row) for number, row in enumerate(rows)]
        ids = [row.get("question_id") for row in rows]
    if not questions:
        raise BadInput(_THING, name_of(url), "has no questions", "Write one per line")
    return questions, ids


def recall_questions(url: str) -> list[str]:
    """Read at most 512 questions of a file, evenly spaced, to measure an index's recall."""
    return evenly(read_questions(url), _RECALL_QUESTIONS)


def read_rows(url: str, needed: tuple[str, ...]) -> list[dict[str, object]]:
    """Read the rows of a ``.jsonl`` or ``.parquet`` file, or of standard input in such a format.

    Raises:
        BadInput: the file is missing or of another kind, or a row lacks one of the ``needed``
            fields or has null there.
    """
    kind, name = _kind(url), name_of(url)
    if kind == _JSON:
        rows = _json_rows(url)
    elif kind == _PARQUET:
        with reading_input(name, _THING), closing(_open(url)) as source:
            file = CheckedFile(source)
            file.check_single((*needed, "question_id"))
            rows = plain_rows(file.read())
    else:
        plain = url == STANDARD_INPUT
        problem = "is neither JSON lines nor Parquet" if plain else "is neither .jsonl nor .parquet"
        remedy = f"Write a JSON object with {', '.join(needed)} on each line"
        raise BadInput(_THING, name, problem, remedy)
    for number, row in enumerate(rows):
        for field in needed:
            if not isinstance(row, dict) or row.get(field) is None:
                remedy = f"Give each row {', '.join(needed)}"
                raise BadInput(_THING, name, f"has no {field!r} in row {number}", remedy)
    return rows


def name_of(url: str) -> str:
    """Return what to call a file of questions, or standard input, in a text."""
    return _STANDARD_INPUT_NAME if url == STANDARD_INPUT else url


def question_text(url: str, number: int, row: dict[str, object]) -> str:
    """Return the question of a row; raises BadInput if it is blank."""
    question = str(row["question"])
    if not question.strip():
        problem = f"has a blank question in row {number}"
        raise BadInput(_THING, name_of(url), problem, "Give a question, or remove the row")
    return question


def _read_text(url: str) -> str:
    """Read a file's text; raises BadInput if it is missing or not UTF-8."""
    try:
        content = _standard_input() if url == STANDARD_INPUT else filesystem.read_bytes(url)
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput(_THING, url, "does not exist", "Check the path") from error
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text: {error}"
        raise BadInput(_THING, name_of(url), problem, "Convert it") from error


def _kind(url: str) -> str:
    """Return the format of a file by its suffix, that of standard input by its beginning."""
    if url != STANDARD_INPUT:
        return next((kind for suffix, kind in _SUFFIXES.items() if url.endswith(suffix)), "")
    content = _standard_input()
    if content.startswith(b"PAR1"):
        return _PARQUET
    # A text may begin with a brace, but hardly with a brace and a quote.
    return _JSON if _OBJECT.match(content.removeprefix(BOM_UTF8)) else _TEXT


def _open(url: str) -> Any:
    if url == STANDARD_INPUT:
        return BytesIO(_standard_input())
    return filesystem.open_input(url)


def _standard_input() -> bytes:
    """Return what standard input holds; raises BadInput if it is closed or empty."""
    content = b"" if sys.stdin is None else _read_stream(sys.stdin)
    if not content.strip():
        remedy = "Write one question per line to it, or give a file"
        raise BadInput(_THING, _STANDARD_INPUT_NAME, "is empty", remedy)
    return content


@functools.lru_cache(1)
def _read_stream(stream: Any) -> bytes:
    # A stream can be read once, but its kind and its rows are asked for one after the other.
    return bytes(stream.buffer.read())


def _json_rows(url: str) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(_read_text(url).split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                problem = f"has no valid JSON in line {number}: {error}"
                remedy = "Write one JSON object per line"
                raise BadInput(_THING, name_of(url), problem, remedy) from error
    return rows
