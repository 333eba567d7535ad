"""``albeam evaluate-task``: measure a head on labelled documents."""

import time
from dataclasses import dataclass

from pipeline.tasks.options import EvaluateTaskOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.models.resolve import find_model, options_for
from transforms.storage import filesystem
from transforms.storage.output_files import check_writable, write_text
from transforms.tasks.documents import (
    Documents,
    embedded_documents,
    stored_documents,
    unique_documents,
)
from transforms.tasks.head_files import read_head
from transforms.tasks.labels import LabelledRows, read_labelled
from transforms.tasks.metrics import ClassMetrics, class_metrics
from transforms.tasks.task_page import task_page, worst_examples
from transforms.tasks.vector_head import VectorHead


@dataclass(frozen=True)
class TaskEvaluation:
    """Result of an evaluation of a head.

    Attributes:
        head: folder of the head.
        data: the files of labelled documents.
        documents: documents that were measured.
        left_out: documents that are blank, or that the store lacks.
        metrics: what was measured.
        report: file of the report; None without one.
        notice: what else the user should know; often empty.
    """

    head: str
    data: str
    documents: int
    left_out: int
    metrics: ClassMetrics
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
    head = read_head(options.head)
    rows = _read(options, head)
    codes = head.classes.codes(rows)
    found = _documents(options, head, rows)
    if not len(found):
        problem = "has no text" if options.store is None else f"has no id of {options.store}"
        raise BadInput("data", rows.source, problem, "Give other data")
    known, scores = codes[found.rows], head.scores(found.vectors)
    metrics = class_metrics(known, scores, head.classes.names, seed=options.seed)
    left_out = len(rows) - len(found)
    if options.report is not None:
        worst = worst_examples(head.classes, known, scores, found.texts)
        write_text(options.report, task_page(metrics, worst, _identity(options, head, rows)))
    reason = "blank" if options.store is None else "not in the store"
    return TaskEvaluation(
        head=options.head,
        data=rows.source,
        documents=len(found),
        left_out=left_out,
        metrics=metrics,
        report=options.report,
        seconds=round(time.monotonic() - started, 3),
        notice=f"{left_out:,} documents are {reason}." if left_out else "",
    )


def _read(options: EvaluateTaskOptions, head: VectorHead) -> LabelledRows:
    columns, stored = options.columns, options.store is not None
    rows = read_labelled(
        options.data,
        "data",
        text=None if stored else columns.text_column,
        identity=columns.id_column if stored else None,
        label=columns.label_column,
        several=columns.multi_label or head.classes.several,
    )
    return unique_documents(rows, columns.id_column) if stored else rows


def _documents(options: EvaluateTaskOptions, head: VectorHead, rows: LabelledRows) -> Documents:
    if options.store is None:
        from transforms.encoder.encoder import load_encoder

        model = find_model(options_for(head.encoder, options.model))
        encoder = load_encoder(model, options.placement)
        texts = rows.columns[options.columns.text_column].to_pylist()
        return embedded_documents(texts, encoder, options.stride)
    store = filesystem.absolute(options.store)
    snapshot = read_snapshot(store, options.snapshot)
    head.check_encoder(options.head, snapshot.identity, f"the store {store}")
    return stored_documents(store, snapshot, rows.columns[options.columns.id_column])


def _identity(
    options: EvaluateTaskOptions, head: VectorHead, rows: LabelledRows
) -> list[tuple[str, str]]:
    settings = head.settings
    return [
        ("head", options.head),
        ("fitted on", f"{settings.get('documents', 0):,} documents"),
        ("strength", f"{settings.get('strength', 0):g}"),
        ("data", rows.source),
        *([("store", options.store)] if options.store is not None else []),
        ("encoder", head.encoder.name),
        ("weights", f"sha256 {head.encoder.weights_sha256}"),
        ("seed", str(options.seed)),
    ]
