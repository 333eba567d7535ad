"""``albeam classify``: fit a head on the stored vectors of labelled documents."""

import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.tasks.options import ClassifyOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.tasks.data.labels import Classes, LabelledRows, learn_classes, read_labelled
from transforms.tasks.metrics.class_metrics import ClassMetrics
from transforms.tasks.prediction.documents import stored_documents, unique_documents
from transforms.tasks.vector_heads.fit_head import fit_head
from transforms.tasks.vector_heads.head_card import head_card
from transforms.tasks.vector_heads.head_files import check_head_output, write_head


@dataclass(frozen=True)
class ClassifySummary:
    """Summary of a head that was fitted.

    Attributes:
        output: folder of the head.
        documents: labelled documents that the head was fitted on.
        missing: labelled documents that the store lacks.
        classes: number of classes.
        strength: the inverse of the regularization, by cross-validation unless it was given.
        log_losses: strength: cross-validated log loss; empty if the strength was given.
        held_out: documents that the metrics were measured on, by a head fitted without them.
        metrics: the metrics on those documents; None without any.
        seconds: duration of the command.
        fit_seconds: the part of it that fitted.
        notice: what else the user should know; often empty.
    """

    store: str
    snapshot: int
    output: str
    documents: int
    missing: int
    classes: int
    strength: float
    log_losses: dict[str, float]
    held_out: int
    metrics: ClassMetrics | None
    seconds: float
    fit_seconds: float
    notice: str


def run(options: ClassifyOptions) -> ClassifySummary:
    """Fit a head and write it.

    Raises:
        BadInput: the store, the labels or an option can't be used; nothing was written.
        Damaged: a file of the store can't be read.
    """
    started = time.monotonic()
    check_head_output(options.output)
    columns = options.columns
    rows = read_labelled(
        options.labels,
        "labels",
        text=None,
        identity=columns.id_column,
        label=columns.label_column,
        several=columns.multi_label,
    )
    rows = unique_documents(rows, columns.id_column)
    store = filesystem.absolute(options.store)
    snapshot = read_snapshot(store, options.snapshot)
    found = stored_documents(store, snapshot, rows.columns[columns.id_column])
    missing = len(rows) - len(found)
    if not len(found):
        problem = f"has no id of a document in {store}"
        raise BadInput("labels", rows.source, problem, "Give the ids that were embedded")
    rows = _only(rows, found.rows)
    classes = _classes(rows, missing)
    fitting = time.monotonic()
    head, metrics = fit_head(
        found.vectors, classes.codes(rows), classes, snapshot.identity, options.head
    )
    fit_seconds = time.monotonic() - fitting
    card = head_card(
        Path(options.output).absolute().name,
        head,
        {
            "store": store.rstrip("/").rpartition("/")[2],
            "snapshot": snapshot.number,
            "labels": ", ".join(path.name for path in options.labels),
        },
    )
    write_head(options.output, head, card)
    return ClassifySummary(
        store=store,
        snapshot=snapshot.number,
        output=options.output,
        documents=len(found),
        missing=missing,
        classes=len(classes.names),
        strength=head.settings["strength"],
        log_losses=head.settings["log_losses"],
        held_out=head.settings["held_out_documents"],
        metrics=metrics,
        seconds=round(time.monotonic() - started, 3),
        fit_seconds=round(fit_seconds, 3),
        notice=_notice(missing, metrics is None and options.head.held_out > 0),
    )


def _only(rows: LabelledRows, places: object) -> LabelledRows:
    columns = {name: column.take(places) for name, column in rows.columns.items()}
    labels = rows.labels.take(places)
    return LabelledRows(rows.option, rows.source, columns, labels, rows.integers, rows.several)


def _classes(rows: LabelledRows, missing: int) -> Classes:
    try:
        return learn_classes(rows)
    except BadInput as error:
        if not missing:
            raise
        # Without the number a user looks for the fault in labels that are right.
        problem = f"{error.problem}, among the ids that the store has"
        remedy = f"Give ids that were embedded: {missing:,} are not in the store"
        raise BadInput(error.option, error.value, problem, remedy) from error


def _notice(missing: int, unmeasured: bool) -> str:
    words = []
    if missing:
        words.append(f"{missing:,} labelled documents are not in the store.")
    if unmeasured:
        words.append("Too few documents are labelled to hold some out, so nothing was measured.")
    return " ".join(words)
