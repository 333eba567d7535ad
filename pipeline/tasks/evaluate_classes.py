"""``albeam evaluate-task`` with a classifier: a head on vectors, or a whole network."""

from pipeline.tasks.measured import Measured
from pipeline.tasks.options import EvaluateTaskOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.models.resolve import find_model, options_for
from transforms.storage import filesystem
from transforms.tasks.data.labels import Classes, Codes, LabelledRows, read_labelled
from transforms.tasks.metrics.class_metrics import class_metrics
from transforms.tasks.metrics.class_page import class_page, worst_examples
from transforms.tasks.networks.network_files import network_digest, read_network
from transforms.tasks.networks.text_classifier import TextClassifier
from transforms.tasks.prediction.documents import (
    Documents,
    embedded_documents,
    stored_documents,
    unique_documents,
)
from transforms.tasks.vector_heads.head_files import read_head
from transforms.tasks.vector_heads.vector_head import Scores, VectorHead


def measure_vectors(options: EvaluateTaskOptions) -> Measured:
    """Measure a head on the vectors of a store, or of texts that are embedded.

    Raises:
        BadInput: the head, the rows, the store or the encoder can't be used.
        Damaged: a file of the store can't be read.
    """
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
    return _measured(options, head.classes, rows, codes[found.rows], found.texts, scores, identity)


def measure_classes(options: EvaluateTaskOptions) -> Measured:
    """Measure a whole network on texts; raises BadInput if it or the rows can't be used."""
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
    return _measured(options, settings.classes, rows, codes[kept], texts, scores, identity)


def _measured(
    options: EvaluateTaskOptions,
    classes: Classes,
    rows: LabelledRows,
    known: Codes,
    texts: list[str],
    scores: Scores,
    identity: list[tuple[str, str]],
) -> Measured:
    if not len(scores):
        problem = "has no text" if options.store is None else f"has no id of {options.store}"
        raise BadInput("data", rows.source, problem, "Give other data")
    metrics = class_metrics(known, scores, classes.names, seed=options.seed)
    return Measured(
        source=rows.source,
        rows=len(scores),
        left_out=len(rows) - len(scores),
        metrics=metrics,
        page=lambda: class_page(metrics, worst_examples(classes, known, scores, texts)),
        identity=identity,
    )


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
