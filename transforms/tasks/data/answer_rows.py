"""Questions with their answers in a passage, as SQuAD has them, from Parquet files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.training.inputs import column_names, read_columns

#: Columns that name the passages of a question, and what they hold.
REFERENCES = {"relevant": "ids", "passage": "id"}
#: The column of the places of the answers, for answers that are lists of text.
STARTS = "answer_starts"
#: The most places of an answer in a passage that count.
_MOST_PLACES = 20

Int64 = npt.NDArray[np.int64]
#: A first code point, and the one after the last.
CodePoints = tuple[int, int]


@dataclass(frozen=True)
class AnswerRows:
    """Questions, each with a passage and its known answers.

    Attributes:
        option: the option that named the files, for messages.
        source: the files, for messages.
        questions: the questions.
        passages: the passages, each once.
        places: the passage of each question, by its place in ``passages``.
        answers: the known answers of each question as text; none if it can't be answered.
        spans: where they stand in the passage.
        rejected: how many rows were left out, by reason.
    """

    option: str
    source: str
    questions: list[str] = field(default_factory=list)
    passages: list[str] = field(default_factory=list)
    places: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    answers: list[list[str]] = field(default_factory=list)
    spans: list[list[CodePoints]] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.questions)

    def take(self, rows: Int64) -> AnswerRows:
        """Return some of the rows."""
        kept, places = np.unique(self.places[rows], return_inverse=True)
        return AnswerRows(
            self.option,
            self.source,
            [self.questions[row] for row in rows],
            [self.passages[place] for place in kept],
            places.astype(np.int64),
            [self.answers[row] for row in rows],
            [self.spans[row] for row in rows],
            self.rejected,
        )


class _Rejected(Exception):
    """The reason why a row is left out."""


def read_answered(
    files: Sequence[Path],
    option: str,
    *,
    passages: Mapping[str, str] | None = None,
    question: str = "question",
    context: str = "context",
    answers: str = "answers",
    no_answer: bool = False,
) -> AnswerRows:
    """Read questions with answers of Parquet files.

    A row without question, passage or answer, and one whose answers don't stand in the passage or
    not where they should, is left out and counted.

    Args:
        files: the files.
        option: the option that names them, for messages.
        passages: the texts of passages by id; a row then names its own in a column of `REFERENCES`.
            Of several passages, the first one with an answer counts.
        question: the column of questions.
        context: the column of passages, if ``passages`` is None.
        answers: the column of answers: a text, a list of texts (with their first code points in the
            column `STARTS`, if there is one), a list of ``text`` and ``start``, or SQuAD's struct
            of lists. An answer without a start is found wherever it stands.
        no_answer: keep rows without answers. Then a file may lack the column of answers.

    Raises:
        BadInput: a file can't be read, a column is missing or has another type, or no row is left.
    """
    source = ", ".join(map(str, files))
    made = AnswerRows(option, source)
    numbers: dict[str, int] = {}
    places: list[int] = []
    rejected: Counter[str] = Counter()
    for path in files:
        names = column_names(path, option)
        asked = _column(path, option, question, "text")
        choices = _passages(path, option, names, context, passages)
        given: list[Any] = [None] * len(asked)
        if answers in names or not no_answer:
            given = _column(path, option, answers, "answers")
        starts: list[Any] = [None] * len(asked)
        if STARTS in names:
            starts = _column(path, option, STARTS, "numbers")
        for text, candidates, value, begins in zip(asked, choices, given, starts, strict=True):
            try:
                passage, known, spans = _row(text, candidates, value, begins, no_answer)
            except _Rejected as reason:
                rejected[str(reason)] += 1
                continue
            made.questions.append(text)
            made.answers.append(known)
            made.spans.append(spans)
            places.append(numbers.setdefault(passage, len(numbers)))
    if not places:
        reasons = ", ".join(f"{count} with {reason}" for reason, count in rejected.items())
        problem = f"has no row that can be used: {reasons or 'it is empty'}"
        raise BadInput(option, source, problem, "Give questions with passages and answers")
    made.passages.extend(numbers)
    return AnswerRows(
        option,
        source,
        made.questions,
        made.passages,
        np.asarray(places, np.int64),
        made.answers,
        made.spans,
        dict(rejected),
    )


def read_passages(files: Sequence[Path]) -> dict[str, str]:
    """Return the texts of passages by id, of Parquet files with ``id`` and ``text``.

    Raises:
        BadInput: a file can't be read or has nulls, or an id has two texts.
    """
    found: dict[str, str] = {}
    for path in files:
        table = read_columns(path, "passages", {"id": "id", "text": "text"})
        ids, texts = (table[name].to_pylist() for name in ("id", "text"))
        for identity, text in zip(map(str, ids), texts, strict=True):
            if found.setdefault(identity, text) != text:
                problem = f"has the id {identity[:80]!r} twice"
                raise BadInput("passages", str(path), problem, "Give each passage an id of its own")
    return found


def _column(path: Path, option: str, name: str, kind: str) -> list[Any]:
    """Read a column alone, so that it may have nulls."""
    values: list[Any] = read_columns(path, option, {name: kind})[name].to_pylist()
    return values


def _passages(
    path: Path,
    option: str,
    names: Sequence[str],
    context: str,
    passages: Mapping[str, str] | None,
) -> list[list[str]]:
    """Return the passages of each row."""
    reference = next((name for name in REFERENCES if name in names), None)
    if passages is None:
        if context not in names and reference is not None:
            problem = f"names its passages in the column {reference!r}, and none are given"
            raise BadInput(option, str(path), problem, "Name their files as --passages")
        return [[text] if text else [] for text in _column(path, option, context, "text")]
    if reference is None:
        problem = f"has no column {' or '.join(map(repr, REFERENCES))}"
        raise BadInput(option, str(path), problem, "Add the ids of passages, or omit --passages")
    values = _column(path, option, reference, REFERENCES[reference])
    named = [value if isinstance(value, list) else [value] for value in values]
    return [[passages[str(n)] for n in some if str(n) in passages] for some in named]


def _row(
    question: str | None, candidates: Sequence[str], value: Any, starts: Any, no_answer: bool
) -> tuple[str, list[str], list[CodePoints]]:
    """Return the passage, the answers and their places; raises _Rejected."""
    if not (question and question.strip()):
        raise _Rejected("no question")
    candidates = [text for text in candidates if text.strip()]
    if not candidates:
        raise _Rejected("no passage")
    answers = [(text, start) for text, start in _pairs(value, starts) if text.strip()]
    known = list(dict.fromkeys(text for text, _ in answers))
    if not answers:
        if not no_answer:
            raise _Rejected("no answer")
        return candidates[0], known, []
    for passage in candidates:
        spans = {span for text, start in answers for span in _places(passage, text, start)}
        if spans:
            return passage, known, sorted(spans)
    if any(start is None for _, start in answers):
        raise _Rejected("an answer that its passage lacks")
    raise _Rejected("an answer that does not stand at its start")


def _pairs(value: Any, starts: Any) -> list[tuple[str, int | None]]:
    """Return the answers of a row with their first code points, of any layout."""
    if isinstance(value, str):
        value = [value]
    elif isinstance(value, dict):
        starts, value = _start(value), value["text"]
        value, starts = (each if isinstance(each, list) else [each] for each in (value, starts))
    value = value or []
    if value and isinstance(value[0], dict):
        value, starts = [each["text"] for each in value], [_start(each) for each in value]
    if None in value:
        raise _Rejected("an answer that is null")
    if starts is None or starts == [None]:
        starts = [None] * len(value)
    if len(starts) != len(value):
        raise _Rejected("another number of starts than of answers")
    return list(zip(value, starts, strict=True))


def _start(answer: Mapping[str, Any]) -> Any:
    return answer.get("start", answer.get("answer_start"))


def _places(passage: str, text: str, start: int | None) -> list[CodePoints]:
    """Return where an answer stands: at its start, or anywhere, as whole words if possible."""
    if start is not None:
        fits = start >= 0 and passage.startswith(text, start)
        return [(start, start + len(text))] if fits else []
    found = [match.span() for match in re.finditer(re.escape(text), passage)]
    whole = [span for span in found if _is_whole(passage, *span)]
    return (whole or found)[:_MOST_PLACES]


def _is_whole(passage: str, start: int, end: int) -> bool:
    """Say whether no word goes on at either edge of a span."""
    edges = [(start - 1, start), (end - 1, end)]
    return not any(
        before >= 0
        and after < len(passage)
        and passage[before].isalnum()
        and passage[after].isalnum()
        for before, after in edges
    )
