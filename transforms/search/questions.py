"""Read questions from files."""

import json
from collections.abc import Sequence

from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.parquet_files import CheckedFile, reading_input

#: The option or thing that errors name.
_THING = "questions"
#: How many questions measure the recall of an index.
_RECALL_QUESTIONS = 512


def evenly(items: Sequence[str], most: int) -> list[str]:
    """Return at most ``most`` of the items, evenly spaced."""
    step = -(-len(items) // most)
    return list(items[::step]) if items else []


def read_questions(url: str) -> list[str]:
    """Read the questions of a ``.txt`` (one per line), ``.jsonl`` or ``.parquet`` file.

    Raises:
        BadInput: the file is missing or of another kind, or a row has no ``question`` or a blank
            one.
    """
    if url.endswith(".txt"):
        lines = _read_text(url).split("\n")
        questions = [line.strip() for line in lines if line.strip()]
    else:
        rows = read_rows(url, ("question",))
        questions = [question_text(url, number, row) for number, row in enumerate(rows)]
    if not questions:
        raise BadInput(_THING, url, "has no questions", "Write one per line")
    return questions


def recall_questions(url: str) -> list[str]:
    """Read at most 512 questions of a file, evenly spaced, to measure an index's recall."""
    return evenly(read_questions(url), _RECALL_QUESTIONS)


def read_rows(url: str, needed: tuple[str, ...]) -> list[dict[str, object]]:
    """Read the rows of a ``.jsonl`` or ``.parquet`` file.

    Raises:
        BadInput: the file is missing or of another kind, or a row lacks one of the ``needed``
            fields or has null there.
    """
    if url.endswith((".jsonl", ".json")):
        rows = _json_rows(url)
    elif url.endswith(".parquet"):
        with reading_input(url, _THING), filesystem.open_input(url) as source:
            rows = CheckedFile(source).read().to_pylist()
    else:
        remedy = "Write the questions as one of them"
        raise BadInput(_THING, url, "is neither .jsonl nor .parquet", remedy)
    for number, row in enumerate(rows):
        for name in needed:
            if not isinstance(row, dict) or row.get(name) is None:
                remedy = f"Give each row {', '.join(needed)}"
                raise BadInput(_THING, url, f"has no {name!r} in row {number}", remedy)
    return rows


def question_text(url: str, number: int, row: dict[str, object]) -> str:
    """Return the question of a row; raises BadInput if it is blank."""
    question = str(row["question"])
    if not question.strip():
        problem = f"has a blank question in row {number}"
        raise BadInput(_THING, url, problem, "Give a question, or remove the row")
    return question


def _read_text(url: str) -> str:
    """Read a file's text; raises BadInput if it is missing or not UTF-8."""
    try:
        return filesystem.read_bytes(url).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput(_THING, url, "does not exist", "Check the path") from error
    except UnicodeDecodeError as error:
        raise BadInput(_THING, url, f"is not UTF-8 text: {error}", "Convert it") from error


def _json_rows(url: str) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(_read_text(url).split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                problem = f"has no valid JSON in line {number}: {error}"
                raise BadInput(_THING, url, problem, "Write one JSON object per line") from error
    return rows
