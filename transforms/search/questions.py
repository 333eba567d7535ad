"""Read questions from files."""

import json
from collections.abc import Sequence

import pyarrow.parquet as pq

from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.parquet_files import reading_given


def evenly(items: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of the items, evenly spaced."""
    step = -(-len(items) // most)
    return list(items[::step]) if items else []


def read_questions(url: str) -> list[str]:
    """The questions of a ``.txt`` (a line each), ``.jsonl`` or ``.parquet`` file.

    Raises:
        BadInput: the file is missing, of another kind, or has no ``question`` or a blank one in a
            row.
    """
    if url.endswith(".txt"):
        lines = read_text(url).split("\n")
        questions = [line.strip() for line in lines if line.strip()]
    else:
        rows = read_rows(url, ("question",))
        questions = [question_text(url, number, row) for number, row in enumerate(rows)]
    if not questions:
        raise BadInput(f"{url!r} has no questions; write one a line")
    return questions


def recall_questions(url: str) -> list[str]:
    """At most 512 questions of a file, evenly spaced, for the recall of an index."""
    questions = read_questions(url)
    step = -(-len(questions) // _RECALL_QUESTIONS)
    return questions[::step]


def read_rows(url: str, needed: tuple[str, ...]) -> list[dict[str, object]]:
    """The rows of a ``.jsonl`` or ``.parquet`` file, each with the ``needed`` fields not null.

    Raises:
        BadInput: the file is missing, of another kind, or a field is not there.
    """
    if url.endswith((".jsonl", ".json")):
        rows = _json_rows(url)
    elif url.endswith(".parquet"):
        with reading_given(url, "file"), filesystem.open_input(url) as source:
            rows = pq.read_table(source, page_checksum_verification=True).to_pylist()
    else:
        raise BadInput(f"{url!r} is not .jsonl or .parquet; write the questions as one of them")
    for number, row in enumerate(rows):
        for name in needed:
            if not isinstance(row, dict) or row.get(name) is None:
                raise BadInput(
                    f"row {number} of {url!r} has no {name!r}; give each row {', '.join(needed)}"
                )
    return rows


def question_text(url: str, number: int, row: dict[str, object]) -> str:
    """The question of a row; BadInput where it is blank."""
    question = str(row["question"])
    if not question.strip():
        raise BadInput(
            f"row {number} of {url!r} has a blank question; ask something, or take the row out"
        )
    return question


def read_text(url: str) -> str:
    """A file's text; BadInput where it is missing or not UTF-8."""
    try:
        return filesystem.read_bytes(url).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {url!r}; check the path") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{url!r} is not UTF-8 text: {error}; convert it") from error


_RECALL_QUESTIONS = 512


def _json_rows(url: str) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(read_text(url).split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise BadInput(f"line {number} of {url!r} is not JSON: {error}") from error
    return rows
