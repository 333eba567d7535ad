"""``albeam evaluate``: how well a store answers questions whose answers are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.search import read_rows
from transforms.errors import BadInput
from transforms.metrics import Question, Runs, by_question, first_ranks, means, success_curve
from transforms.outputs import check_writable, writing
from transforms.runs import (
    BY_QUESTION,
    Run,
    check_questions,
    check_trec_ids,
    read_run,
    write_trec,
)
from transforms.significance import intervals
from transforms.stages import evenly, time_search
from transforms.store import MODES, Store

ALL = "all"
_AT_ONCE = 512
_CURVE = 100
#: How searches are timed: so many questions, one at a time, for so many documents.
_TIMED, TIMED_K = 100, 10


@dataclass(frozen=True)
class EvaluateOptions:
    """What to measure, and what to write.

    Attributes:
        questions: ``.parquet`` or ``.jsonl`` with question_id, question, relevant.
        k: how deep to search.
        modes: how to rank, ``("all",)`` for every way that the store has.
        beside: runs of other systems to measure as well, ``(name, file)``.
        per_question: a Parquet file to write, a row a mode and question.
        run: a TREC file to write; with several modes one each, the mode in its name.
        timed: whether searches are timed, one question at a time.
        seed: of the bootstrap.
    """

    questions: str
    k: int = 100
    modes: tuple[str, ...] = ("dense",)
    beside: tuple[tuple[str, str], ...] = ()
    per_question: str | None = None
    run: str | None = None
    timed: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """What one mode found.

    Attributes:
        runs: question id to ``(document id, score)``, best first.
        values: each metric's values, float64 ``[questions]``.
        ranks: of the first relevant document, from 1, int64 ``[questions]``; 0 where none was.
        intervals: 95 % intervals of the metrics' means.
        latency: milliseconds by stage and percentile; empty where searches were not timed.
    """

    runs: Runs
    values: Mapping[str, npt.NDArray[np.float64]]
    ranks: npt.NDArray[np.int64]
    intervals: Mapping[str, tuple[float, float]]
    latency: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """The questions, and what each mode found for them."""

    questions: list[Question]
    modes: dict[str, Measured]

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints for several modes."""
        modes = self.modes.items()
        return {
            "questions": len(self.questions),
            "modes": {mode: means(each.values) for mode, each in modes},
            "intervals": {mode: dict(each.intervals) for mode, each in modes},
            "success": {mode: success_curve(each.ranks, _CURVE).tolist() for mode, each in modes},
            "latency": {mode: dict(each.latency) for mode, each in modes if each.latency},
        }


def run(store: Store, questions: str, k: int, mode: str) -> dict[str, Any]:
    """Search every question of a file in one mode and measure the ranking by document.

    Returns:
        ``{"questions": n, "metrics": {name: value}}``.

    Raises:
        BadInput: the questions can't be read or used.
    """
    found = evaluate(store, EvaluateOptions(questions, k, (mode,)))
    return {
        "questions": len(found.questions),
        "metrics": means(found.modes[mode].values),
    }


def evaluate(store: Store, options: EvaluateOptions) -> Evaluation:
    """Search every question in each mode, measure the rankings by document, and write the files.

    Raises:
        BadInput: the questions, a run or an option can't be used; nothing was searched.
    """
    modes = check_modes(store, options)
    _check_outputs(options)
    asked = load_questions(options.questions)
    ids = [question.question_id for question in asked]
    if options.run is not None:
        check_trec_ids(ids)
    others = {name: _other(file, ids, options) for name, file in options.beside}
    found: dict[str, Run] = {mode: _search(store, asked, options.k, mode) for mode in modes}
    evaluation = Evaluation(
        asked,
        {
            name: _measure(store, asked, each, name if name in modes else None, options)
            for name, each in (found | others).items()
        },
    )
    if options.per_question is not None:
        with writing(options.per_question) as path:
            pq.write_table(question_table(evaluation), path, compression="zstd")
    if options.run is not None:
        for mode in modes:
            url = options.run if len(modes) == 1 else _named(options.run, mode)
            write_trec(url, found[mode], mode)
    return evaluation


def modes_of(store: Store) -> tuple[str, ...]:  # noqa: ARG001
    """The ways in which a store can be searched."""
    return MODES


def check_modes(store: Store, options: EvaluateOptions) -> tuple[str, ...]:
    """The modes that were asked for, each once.

    Raises:
        BadInput: one is unknown, or has the name of a run of another system, or there is none.
    """
    known = modes_of(store)
    modes = known if options.modes == (ALL,) else tuple(dict.fromkeys(options.modes))
    for mode in modes:
        if mode not in known:
            raise BadInput(
                f"mode {mode!r} is not one of {', '.join(known)}; give some of them, or {ALL}"
            )
    names = [*modes, *(name for name, _ in options.beside)]
    if len(set(names)) != len(names):
        raise BadInput(f"of {', '.join(names)} two have one name; call a run otherwise")
    if not modes:
        raise BadInput(f"there is no mode; give some of {', '.join(known)}, or {ALL}")
    return modes


def load_questions(url: str) -> list[Question]:
    """The questions of a Parquet or JSONL file.

    Raises:
        BadInput: a field is missing, or a question has no relevant document.
    """
    questions = []
    for number, row in enumerate(read_rows(url, ("question_id", "question", "relevant"))):
        relevant, answers = row["relevant"], row.get("answers")
        if not isinstance(relevant, list) or not relevant or None in relevant:
            raise BadInput(
                f"row {number} of {url!r} has relevant {relevant!r}; "
                "give a list of at least one document id"
            )
        if answers is not None and not isinstance(answers, list):
            raise BadInput(f"row {number} of {url!r} has answers {answers!r}; give a list of texts")
        questions.append(
            Question(
                str(row["question_id"]),
                str(row["question"]),
                tuple(str(document) for document in relevant),
                None if answers is None else tuple(str(answer) for answer in answers),
            )
        )
    return questions


def question_table(evaluation: Evaluation) -> pa.Table:
    """A row a mode and question: `BY_QUESTION`, and a column for each metric."""
    questions, tables = evaluation.questions, []
    for mode, found in evaluation.modes.items():
        ranked = [found.runs.get(question.question_id, []) for question in questions]
        columns = {
            "mode": [mode] * len(questions),
            "question_id": [question.question_id for question in questions],
            "question": [question.question for question in questions],
            "relevant": [question.relevant for question in questions],
            "rank": [int(rank) or None for rank in found.ranks],
            "document_ids": [[document for document, _ in hits] for hits in ranked],
            "scores": [[score for _, score in hits] for hits in ranked],
        }
        table = pa.table(columns, schema=BY_QUESTION)
        for name, values in found.values.items():
            table = table.append_column(name, pa.array(values))
        tables.append(table)
    return pa.concat_tables(tables, promote_options="default")


def _check_outputs(options: EvaluateOptions) -> None:
    if options.per_question is not None:
        check_writable("per-question", options.per_question, ".parquet")
    if options.run is not None:
        if options.run.endswith(".parquet"):
            raise BadInput(
                f"run {options.run!r} ends in .parquet, and is a TREC file: call it otherwise, or "
                "give --per-question"
            )
        check_writable("run", options.run, "")


def _other(file: str, ids: list[str], options: EvaluateOptions) -> Run:
    run = read_run(file)
    check_questions(file, run, ids, options.questions)
    return {question_id: ranked[: options.k] for question_id, ranked in run.items()}


def _search(store: Store, asked: list[Question], k: int, mode: str) -> Run:
    runs: Run = {}
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        found = store.search([question.question for question in some], k, mode)
        for question, hits in zip(some, found, strict=True):
            runs[question.question_id] = [(hit.document_id, hit.score) for hit in hits]
    return runs


def _measure(
    store: Store, asked: list[Question], runs: Run, mode: str | None, options: EvaluateOptions
) -> Measured:
    values = by_question(asked, runs, options.k)
    latency: Mapping[str, Mapping[str, float]] = {}
    if options.timed and mode is not None:
        some = evenly([question.question for question in asked], _TIMED)
        latency = time_search(store, some, min(options.k, TIMED_K), mode).percentiles()
    return Measured(
        runs=runs,
        values=values,
        ranks=first_ranks(asked, runs),
        intervals=intervals(values, seed=options.seed),
        latency=latency,
    )


def _named(url: str, mode: str) -> str:
    """``run.trec`` as ``run-dense.trec``."""
    folder, slash, name = url.rpartition("/")
    stem, dot, kind = name.rpartition(".")
    return f"{folder}{slash}{stem}-{mode}.{kind}" if dot else f"{url}-{mode}"
