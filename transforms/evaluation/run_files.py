"""Run files: what was found for each question, in TREC's six columns or as Parquet."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import BadInput
from transforms.evaluation.metrics import Runs
from transforms.evaluation.questions import Question
from transforms.storage import filesystem
from transforms.storage.output_files import write_text
from transforms.storage.parquet_files import CheckedFile, reading_input

Run = dict[str, list[tuple[str, float]]]

#: The columns of ``evaluate --per-question``; a column for each metric follows.
BY_QUESTION: pa.Schema = pa.schema(
    [
        ("mode", pa.string()),
        ("question_id", pa.string()),
        ("question", pa.string()),
        ("relevant", pa.list_(pa.string())),
        ("rank", pa.int32()),
        ("document_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float64())),
    ]
)
_LINES = ("question_id", "rank", "document_id", "score")
_LISTS = ("question_id", "document_ids", "scores")
_ASKED = ("mode", "question_id", "question", "relevant")
_BLANK = re.compile(r"\s")
#: What errors call a run that is read; the option ``--run`` names one that is written.
_FILE = "run file"
_COLUMNS = "question Q0 document rank score tag"


def read_run(name: str) -> Run:
    """Read a run, with the best documents first.

    Args:
        name: a file in TREC's format, the Parquet of ``albeam search --output``, or that of
            ``albeam evaluate --per-question``, followed by ``@MODE`` if it has several modes.

    Raises:
        BadInput: the file is missing or empty, has another format, lists a document twice for a
            question, or has a score that is not a finite number.
    """
    url, mode = _split_mode(name)
    try:
        rows = _parquet_rows(url, mode) if url.endswith(".parquet") else _trec_rows(url)
        run = _collect(name, rows)
    except FileNotFoundError as error:
        raise BadInput(_FILE, url, "is missing", "Check the path") from error
    if not run:
        raise BadInput(_FILE, name, "is empty", "Give a run that has found something")
    return run


def questions_of(name: str) -> list[Question] | None:
    """Return the questions of a run with their relevant documents; None if it has none.

    Only the Parquet of ``albeam evaluate --per-question`` has them.

    Raises:
        BadInput: as `read_run`.
    """
    url, mode = _split_mode(name)
    if not url.endswith(".parquet"):
        return None
    with reading_input(url, _FILE), filesystem.open_input(url) as source:
        file = CheckedFile(source)
        file.check_single((*_LINES, *_LISTS, *_ASKED))
        if not set(_ASKED) <= set(file.schema_arrow.names):
            return None
        table = _of_mode(file.read(columns=_ASKED), url, mode)
    return [
        Question(row["question_id"], row["question"], tuple(row["relevant"]))
        for row in table.to_pylist()
    ]


def check_questions(name: str, run: Run, question_ids: Sequence[str], questions: str) -> None:
    """Raise BadInput if a run has a question that the file ``questions`` lacks."""
    unknown = sorted(set(run) - set(question_ids))
    if unknown:
        problem = (
            f"has {len(unknown):,} question ids that {questions} lacks, such as {unknown[0]!r}"
        )
        raise BadInput(_FILE, name, problem, "Give the questions that the run was made with")


def check_trec_ids(ids: Sequence[str]) -> None:
    """Raise BadInput if an id is empty or has white space, which separates TREC's columns."""
    for name in ids:
        if not name or _BLANK.search(name):
            problem = "can't be written to a TREC run: white space separates its columns"
            raise BadInput("id", name, problem, "Write --per-question instead")


def write_trec(url: str, runs: Runs, tag: str) -> None:
    """Write ``question Q0 document rank score tag`` lines.

    Within a question each score is below the one before, even in float32, as trec_eval stores it.
    Tools rank by scores alone.

    Raises:
        BadInput: an id is empty or has white space.
    """
    lines = []
    for question_id, ranked in runs.items():
        check_trec_ids([question_id, *(document for document, _ in ranked)])
        last = np.float32(math.inf)
        for rank, (document, score) in enumerate(ranked, 1):
            last = min(np.float32(score), np.nextafter(last, np.float32(-math.inf)))
            lines.append(f"{question_id} Q0 {document} {rank} {float(last)!r} {tag}\n")
    write_text(url, "".join(lines))


def _split_mode(name: str) -> tuple[str, str | None]:
    url, found, mode = name.rpartition(".parquet@")
    return (f"{url}.parquet", mode) if found else (name, None)


def _collect(name: str, rows: Iterator[tuple[str, str, float, float]]) -> Run:
    """Rank the documents of each question, by score as TREC's tools do, then by rank.

    Args:
        name: the run, for errors.
        rows: question id, document id, rank and score.
    """
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for question_id, document, rank, score in rows:
        mine = found.setdefault(question_id, {})
        if document in mine:
            problem = f"lists document {document!r} twice for question {question_id!r}"
            raise BadInput(_FILE, name, problem, "Keep its best rank")
        if not math.isfinite(score):
            problem = f"has score {score} for document {document!r} of question {question_id!r}"
            raise BadInput(_FILE, name, problem, "Give a finite number")
        mine[document] = (-score, rank)
    return {
        question_id: [(document, -key[0]) for document, key in sorted(mine.items(), key=_key)]
        for question_id, mine in found.items()
    }


def _key(item: tuple[str, tuple[float, float]]) -> tuple[float, float]:
    return item[1]


def _trec_rows(url: str) -> Iterator[tuple[str, str, float, float]]:
    try:
        text = filesystem.read_bytes(url).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(_FILE, url, f"is not UTF-8 text: {error}", "Convert it") from error
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            question_id, _, document, rank, score, _ = fields
            yield question_id, document, float(rank), float(score)
        except ValueError as error:
            problem = f"has {line[:80]!r} in line {number}, not {_COLUMNS!r}"
            raise BadInput(_FILE, url, problem, "Give a TREC file, or a .parquet run") from error


def _parquet_rows(url: str, mode: str | None) -> Iterator[tuple[str, str, float, float]]:
    with reading_input(url, _FILE), filesystem.open_input(url) as source:
        file = CheckedFile(source)
        file.check_single((*_LINES, *_LISTS, *_ASKED))
        names = file.schema_arrow.names
        wanted = next((each for each in (_LINES, _LISTS) if set(each) <= set(names)), None)
        if wanted is None:
            lacking = f"has neither {', '.join(_LINES)} nor {', '.join(_LISTS)}"
            problem = f"{lacking}, but {', '.join(names)}"
            raise BadInput(_FILE, url, problem, "Give a run that albeam wrote, or a TREC file")
        several = ["mode"] if "mode" in names else []
        table = file.read(columns=[*wanted, *several])
    rows = _of_mode(table, url, mode).to_pylist()
    for number, row in enumerate(rows):
        if None in [row[name] for name in wanted]:
            raise BadInput(_FILE, url, f"has a null in row {number}", "Give a value to each column")
        yield from _lines(row, wanted)


def _lines(
    row: Mapping[str, object], wanted: Sequence[str]
) -> Iterator[tuple[str, str, float, float]]:
    question_id, *rest = (row[name] for name in wanted)
    if wanted == _LINES:
        rank, document, score = rest
        yield str(question_id), str(document), float(str(rank)), float(str(score))
        return
    documents, scores = rest
    assert isinstance(documents, list)
    assert isinstance(scores, list)
    for place, (document, score) in enumerate(zip(documents, scores, strict=True)):
        yield str(question_id), str(document), float(place), float(score)


def _of_mode(table: pa.Table, url: str, mode: str | None) -> pa.Table:
    if "mode" not in table.schema.names:
        if mode is not None:
            raise BadInput(_FILE, url, "has no column 'mode'", f"Leave @{mode} out")
        return table
    modes = sorted(set(table.column("mode").to_pylist()))
    if mode is None and len(modes) > 1:
        problem = f"has the modes {', '.join(modes)}"
        raise BadInput(_FILE, url, problem, f"Name one of them, such as {url}@{modes[0]}")
    if mode is not None and mode not in modes:
        raise BadInput(_FILE, url, f"has no mode {mode!r}", f"Name one of {', '.join(modes)}")
    wanted = mode if mode is not None else (modes or [""])[0]
    return table.filter(pc.equal(table.column("mode"), wanted))
