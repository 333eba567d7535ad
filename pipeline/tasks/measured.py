"""What an evaluation of a head measured, of whichever kind the head is."""

from collections.abc import Callable
from dataclasses import dataclass

from transforms.tasks.metrics.class_metrics import ClassMetrics
from transforms.tasks.metrics.entity_metrics import SpanMetrics
from transforms.tasks.metrics.task_page import Page
from transforms.tasks.metrics.text_metrics import AnswerMetrics, MeanMetrics


@dataclass(frozen=True)
class Measured:
    """The metrics of a head.

    Attributes:
        source: the files of known rows.
        rows: rows that were measured.
        left_out: rows that could not be.
        metrics: what was measured.
        page: makes the report page.
        identity: names and values that the report says of the head.
        notice: what else the user should know; often empty.
    """

    source: str
    rows: int
    left_out: int
    metrics: ClassMetrics | SpanMetrics | AnswerMetrics | MeanMetrics
    page: Callable[[], Page]
    identity: list[tuple[str, str]]
    notice: str = ""
