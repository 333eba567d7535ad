"""The results of an evaluation: the questions, and each mode's run, metrics and latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.evaluation.checks import Checks
from transforms.evaluation.metrics import Runs, by_question, first_ranks, means, success_curve
from transforms.evaluation.questions import Question
from transforms.evaluation.run_files import BY_QUESTION
from transforms.evaluation.significance import intervals
from transforms.evaluation.squad import exact_match, f1

#: The depth of the success curve.
CURVE = 100


@dataclass(frozen=True)
class Measured:
    """The results of one mode.

    Attributes:
        runs: question id to ``(document id, score)``, best first.
        values: values of each metric, float64 ``[questions]``.
        ranks: rank, from 1, of the first relevant document, int64 ``[questions]``; 0 without one.
        intervals: 95 % intervals of the metrics' means.
        latency: milliseconds by stage and percentile; empty if searches were not timed.
        answers: a reader's answer to each question, "" for none; None without a reader.
    """

    runs: Runs
    values: Mapping[str, npt.NDArray[np.float64]]
    ranks: npt.NDArray[np.int64]
    intervals: Mapping[str, tuple[float, float]]
    latency: Mapping[str, Mapping[str, float]]
    answers: Sequence[str] | None = None


@dataclass(frozen=True)
class Evaluation:
    """The questions, the results of each mode, the depth of the search, and what distorts them."""

    questions: Sequence[Question]
    modes: Mapping[str, Measured]
    k: int
    checks: Checks = Checks()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints for several modes."""
        modes = self.modes.items()
        depth = min(self.k, CURVE)
        return {
            "questions": len(self.questions),
            "modes": {mode: means(each.values) for mode, each in modes},
            "intervals": {mode: dict(each.intervals) for mode, each in modes},
            "success": {mode: success_curve(each.ranks, depth).tolist() for mode, each in modes},
            "latency": {mode: dict(each.latency) for mode, each in modes if each.latency},
            **self.checks.to_dict(),
        }


def measure_run(
    questions: Sequence[Question],
    runs: Runs,
    k: int,
    seed: int = 0,
    latency: Mapping[str, Mapping[str, float]] | None = None,
    answers: Sequence[str] | None = None,
) -> Measured:
    """Measure what was found for the questions, down to ``k``.

    Args:
        questions: questions with at least one relevant document each.
        runs: question id to ``(document id, score)``, best first.
        k: the depth of the runs.
        seed: the seed of the bootstrap.
        latency: as in `Measured`.
        answers: a reader's answer to each question, "" for none; needs questions with known
            answers.
    """
    values = by_question(questions, runs, k)
    if answers is not None:
        known = [question.answers or () for question in questions]
        both = list(zip(answers, known, strict=True))
        values["exact_match"] = np.array([exact_match(*each) for each in both])
        values["f1"] = np.array([f1(*each) for each in both])
    ranks = first_ranks(questions, runs)
    return Measured(runs, values, ranks, intervals(values, seed=seed), latency or {}, answers)


def question_table(evaluation: Evaluation) -> pa.Table:
    """Return a row for each mode and question: `BY_QUESTION` and a column for each metric."""
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
        if found.answers is not None:
            table = table.append_column("answer", pa.array(found.answers, pa.string()))
        tables.append(table)
    return pa.concat_tables(tables, promote_options="default")
