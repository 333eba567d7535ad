"""What an evaluation knows: the questions, and for each mode its run, metrics and latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.evaluation.metrics import Runs, by_question, first_ranks, means, success_curve
from transforms.evaluation.questions import Question
from transforms.evaluation.run_files import BY_QUESTION
from transforms.evaluation.significance import intervals
from transforms.evaluation.squad import exact_match, f1

#: How deep the success curve goes.
CURVE = 100


@dataclass(frozen=True)
class Measured:
    """What one mode found.

    Attributes:
        runs: question id to ``(document id, score)``, best first.
        values: each metric's values, float64 ``[questions]``.
        ranks: of the first relevant document, from 1, int64 ``[questions]``; 0 where none was.
        intervals: 95 % intervals of the metrics' means.
        latency: milliseconds by stage and percentile; empty where searches were not timed.
        answers: a reader's, one a question, "" for none; None where nothing read.
    """

    runs: Runs
    values: Mapping[str, npt.NDArray[np.float64]]
    ranks: npt.NDArray[np.int64]
    intervals: Mapping[str, tuple[float, float]]
    latency: Mapping[str, Mapping[str, float]]
    answers: Sequence[str] | None = None


@dataclass(frozen=True)
class Evaluation:
    """The questions, what each mode found for them, and how deep it looked."""

    questions: Sequence[Question]
    modes: Mapping[str, Measured]
    k: int

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints for several modes."""
        modes = self.modes.items()
        depth = min(self.k, CURVE)
        return {
            "questions": len(self.questions),
            "modes": {mode: means(each.values) for mode, each in modes},
            "intervals": {mode: dict(each.intervals) for mode, each in modes},
            "success": {mode: success_curve(each.ranks, depth).tolist() for mode, each in modes},
            "latency": {mode: dict(each.latency) for mode, each in modes if each.latency},
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
        questions: each with at least one relevant document.
        runs: question id to ``(document id, score)``, best first.
        k: how deep the runs are.
        seed: of the bootstrap.
        latency: how long searches took, where that was measured.
        answers: what a reader answered to each question, "" for nothing; the questions have known
            answers then.
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
        if found.answers is not None:
            table = table.append_column("answer", pa.array(found.answers, pa.string()))
        tables.append(table)
    return pa.concat_tables(tables, promote_options="default")
