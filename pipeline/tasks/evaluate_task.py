"""``albeam evaluate-task``: measure a head on rows whose labels, entities or scores are known."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.tasks.evaluate_answers import measure_answers
from pipeline.tasks.evaluate_classes import measure_classes, measure_vectors
from pipeline.tasks.evaluate_entities import measure_entities
from pipeline.tasks.evaluate_similarity import is_encoder, measure_similarity
from pipeline.tasks.measured import Measured
from pipeline.tasks.options import EvaluateTaskOptions
from transforms.errors import BadInput
from transforms.storage.output_files import check_writable, write_text
from transforms.tasks.metrics.class_metrics import ClassMetrics
from transforms.tasks.metrics.entity_metrics import SpanMetrics
from transforms.tasks.metrics.text_metrics import AnswerMetrics, MeanMetrics
from transforms.tasks.networks.network_files import read_task

_MEASURES: dict[str, Callable[[EvaluateTaskOptions], Measured]] = {
    "vector": measure_vectors,
    "classify": measure_classes,
    "tag": measure_entities,
    "read": measure_answers,
    "similar": measure_similarity,
}


@dataclass(frozen=True)
class TaskEvaluation:
    """Result of an evaluation of a head.

    Attributes:
        head: folder of the head.
        task: ``vector`` for a head on vectors, else ``classify``, ``tag``, ``read``
            or ``similar``.
        data: the files of known rows.
        documents: documents, texts, questions or pairs that were measured.
        left_out: those that are blank, that the store lacks, or whose answers the passage lacks.
        metrics: what was measured: of a classifier, a tagger, a reader or an encoder.
        report: file of the report; None without one.
        notice: what else the user should know; often empty.
    """

    head: str
    task: str
    data: str
    documents: int
    left_out: int
    metrics: ClassMetrics | SpanMetrics | AnswerMetrics | MeanMetrics
    report: str | None
    seconds: float
    notice: str


def run(options: EvaluateTaskOptions) -> TaskEvaluation:
    """Measure a head, and write its report.

    Raises:
        BadInput: the head, the data, the store or an option can't be used.
        Damaged: a file of the store can't be read.
    """
    started = time.monotonic()
    if options.report is not None:
        check_writable("report", options.report, ".html")
    task = "similar" if is_encoder(options.head) else read_task(options.head)
    if task not in _MEASURES:
        problem = f"has a head for the task {task[:40]!r}, which is not measured"
        remedy = f"Name a head for one of {', '.join(_MEASURES)}"
        if task == "rerank":
            remedy = "Measure it with albeam evaluate STORE QUESTIONS --rerank N --reranker HEAD"
        raise BadInput("head", options.head, problem, remedy)
    if options.store is not None and task != "vector":
        problem = "has vectors, and a network reads texts"
        raise BadInput("store", options.store, problem, "Give texts, without a store")
    found = _MEASURES[task](options)
    if options.report is not None:
        about = [("head", options.head), ("data", found.source)]
        seed = ("seed", str(options.seed))
        write_text(options.report, found.page().html([*about, *found.identity, seed]))
    return TaskEvaluation(
        head=options.head,
        task=task,
        data=found.source,
        documents=found.rows,
        left_out=found.left_out,
        metrics=found.metrics,
        report=options.report,
        seconds=round(time.monotonic() - started, 3),
        notice=_notice(found, options.store is not None),
    )


def _notice(found: Measured, stored: bool) -> str:
    reason = "not in the store" if stored else "blank"
    left_out = f"{found.left_out:,} rows are {reason}." if found.left_out else ""
    return found.notice or left_out
