"""``albeam search``: questions in, the nearest documents out."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow.parquet as pq

from pipeline.reading import Reading, ReadingOptions
from pipeline.report import print_json
from transforms import storage
from transforms.errors import BadInput
from transforms.hits import Hit
from transforms.parquet import reading_given
from transforms.retrieval import RankOptions
from transforms.store import Store

_AT_ONCE = 256
_RECALL_QUESTIONS = 512


def run(
    store: Store,
    questions: Sequence[str],
    options: RankOptions,
    as_json: bool,
    many: bool,
    reading: ReadingOptions | None = None,
) -> None:
    """Print the hits of each question; with JSON one array, a line for each question."""
    reading = reading or ReadingOptions()
    models, k = Reading(reading), reading.shown(options.k)
    wanted = replace(options, k=models.candidates(options.k))
    for start in range(0, len(questions), _AT_ONCE):
        some = questions[start : start + _AT_ONCE]
        found = store.search_as(some, wanted)
        for question, candidates in zip(some, found, strict=True):
            hits = models.ranked(question, candidates, k)
            answers = models.answers(question, hits)
            if as_json:
                rows = [asdict(hit) for hit in hits]
                if models.reads:
                    for row, answer in zip(rows, answers, strict=True):
                        row["answer"] = None if answer is None else asdict(answer)
                print_json(rows)
            else:
                if many:
                    print(question)
                if models.reads:
                    print_answer(hits, answers)
                print_hits(hits, options.mode)


def chosen_mode(store: Store, mode: str | None) -> str:
    """The mode that is meant; that it is dense for want of a lexical index is said on stderr.

    Raises:
        BadInput: the store has no lexical index, and the mode needs one.
    """
    chosen = store.mode(mode)
    if mode is None and chosen == "dense" and store.segments:
        print(
            f"note: {store.url} has no lexical index, so that vectors alone rank; give it one: "
            f"albeam index {store.url} --lexical auto",
            file=sys.stderr,
        )
    return chosen


def print_answer(hits: Sequence[Hit], answers: Sequence[Any]) -> None:
    """The best answer, and where it stands."""
    from transforms.reading import best_answer

    place = best_answer(answers)
    if place is None:
        print("answer: none found")
        return
    hit, answer = hits[place], answers[place]
    start = hit.start + answer.start
    where = f"{hit.document_id} [{start}:{start + len(answer.text)}]"
    print(f"answer: {answer.text}  ({answer.score:.3f}, {where})")


def print_hits(hits: Sequence[Hit], mode: str = "dense") -> None:
    """Hits for reading: score, document, the passage's beginning, metadata; ``mode`` ranks them."""
    width = min(shutil.get_terminal_size().columns, 100) - 4
    for hit in hits:
        print(f"{hit.rank:>3}. {hit.score:.3f}  {hit.document_id}  [{hit.start}:{hit.end}]")
        short = textwrap.shorten(hit.text, 2 * width, placeholder=" …")
        print(textwrap.indent(textwrap.fill(short, width), "     "))
        said = ", ".join(f"{name}: {value}" for name, value in hit.metadata.items())
        if said:
            print("     " + textwrap.shorten(said, width, placeholder=" …"))
    if not hits:
        shared = "none shares a word with the question, " if mode == "lexical" else ""
        print(f"  nothing: {shared}the store is empty, or no document meets the condition")


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
        with reading_given(url, "file"), storage.open_input(url) as source:
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
        return storage.read_bytes(url).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {url!r}; check the path") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{url!r} is not UTF-8 text: {error}; convert it") from error


def _json_rows(url: str) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(read_text(url).split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise BadInput(f"line {number} of {url!r} is not JSON: {error}") from error
    return rows
