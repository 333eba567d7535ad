"""``albeam evaluate-task``: measure a head on labelled documents."""

import time
from dataclasses import dataclass

from pipeline.tasks.options import EvaluateTaskOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.models.resolve import find_model, options_for
from transforms.storage import filesystem
from transforms.storage.output_files import check_writable, write_text
from transforms.tasks.data.labels import Classes, Codes, LabelledRows, read_labelled
from transforms.tasks.metrics.class_metrics import ClassMetrics, class_metrics
from transforms.tasks.metrics.task_page import task_page, worst_examples
from transforms.tasks.networks.network_files import network_digest, read_network, read_task
from transforms.tasks.networks.text_classifier import TextClassifier
from transforms.tasks.prediction.documents import (
    Documents,
    embedded_documents,
    stored_documents,
    unique_documents,
)
from transforms.tasks.vector_heads.head_files import read_head
from transforms.tasks.vector_heads.vector_head import Scores, VectorHead


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


@dataclass(frozen=True)
class _Scored:
    """Labelled documents with their scores, and what the report says of the head."""

    classes: Classes
    source: str
    known: Codes
    texts: list[str]
    scores: Scores
    left_out: int
    identity: list[tuple[str, str]]


def run(options: EvaluateTaskOptions) -> TaskEvaluation:
    """Measure a head, and write its report.

    Raises:
        BadInput: the head, the data, the store or an option can't be used.
        Damaged: a file of the store can't be read.
    """
    started = time.monotonic()
    if options.report is not None:
        check_writable("report", options.report, ".html")
    network = read_task(options.head) != "vector"
    found = _score_texts(options) if network else _score_vectors(options)
    classes, known, scores = found.classes, found.known, found.scores
    metrics = class_metrics(known, scores, classes.names, seed=options.seed)
    if options.report is not None:
        worst = worst_examples(classes, known, scores, found.texts)
        seed = ("seed", str(options.seed))
        write_text(options.report, task_page(metrics, worst, [*found.identity, seed]))
    reason = "blank" if options.store is None else "not in the store"
    return TaskEvaluation(
        head=options.head,
        data=found.source,
        documents=len(scores),
        left_out=found.left_out,
        metrics=metrics,
        report=options.report,
        seconds=round(time.monotonic() - started, 3),
        notice=f"{found.left_out:,} documents are {reason}." if found.left_out else "",
    )


def _score_vectors(options: EvaluateTaskOptions) -> _Scored:
    head = read_head(options.head)
    rows = _read(options, head.classes)
    codes = head.classes.codes(rows)
    found = _documents(options, head, rows)
    settings = head.settings
    identity = [
        ("fitted on", f"{settings.get('documents', 0):,} documents"),
        ("strength", f"{settings.get('strength', 0):g}"),
        *([("store", options.store)] if options.store is not None else []),
        ("encoder", head.encoder.name),
        ("weights", f"sha256 {head.encoder.weights_sha256}"),
    ]
    scores = head.scores(found.vectors)
    return _scored(options, head.classes, rows, codes[found.rows], found.texts, scores, identity)


def _score_texts(options: EvaluateTaskOptions) -> _Scored:
    if options.store is not None:
        problem = "has vectors, and a network reads texts"
        raise BadInput("store", options.store, problem, "Give texts with labels, without a store")
    settings = read_network(options.head, "classify")
    rows = _read(options, settings.classes)
    codes = settings.classes.codes(rows)
    texts = rows.texts(options.columns.text_column)
    kept = [place for place, text in enumerate(texts) if text.strip()]
    texts = [texts[place] for place in kept]
    scores = TextClassifier(options.head, options.placement).scores(texts)
    identity = [
        ("network", "trained by albeam finetune classify"),
        ("tokens of a window", f"{settings.max_tokens:,}"),
        ("sha256", network_digest(options.head)),
    ]
    return _scored(options, settings.classes, rows, codes[kept], texts, scores, identity)


def _scored(
    options: EvaluateTaskOptions,
    classes: Classes,
    rows: LabelledRows,
    known: Codes,
    texts: list[str],
    scores: Scores,
    identity: list[tuple[str, str]],
) -> _Scored:
    if not len(scores):
        problem = "has no text" if options.store is None else f"has no id of {options.store}"
        raise BadInput("data", rows.source, problem, "Give other data")
    about = [("head", options.head), ("data", rows.source), *identity]
    left_out = len(rows) - len(scores)
    return _Scored(classes, rows.source, known, texts, scores, left_out, about)


def _read(options: EvaluateTaskOptions, classes: Classes) -> LabelledRows:
    columns, stored = options.columns, options.store is not None
    rows = read_labelled(
        options.data,
        "data",
        text=None if stored else columns.text_column,
        identity=columns.id_column if stored else None,
        label=columns.label_column,
        several=columns.multi_label or classes.several,
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
