"""``albeam evaluate-task`` with a sentence encoder: cosines of pairs against known scores."""

from pathlib import Path

import numpy as np

from pipeline.tasks.measured import Measured
from pipeline.tasks.options import EvaluateTaskOptions
from transforms.errors import BadInput
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model
from transforms.tasks.metrics.similarity_page import similarity_page, worst_pairs
from transforms.tasks.metrics.text_metrics import similarity_metrics
from transforms.tasks.networks.similarity_training import read_scored_pairs
from transforms.tasks.prediction.similarity import similarities
from transforms.tasks.training_options import HEAD

#: The file of a sentence encoder's folder that says how it pools.
_MODULES = "modules.json"


def is_encoder(head: str) -> bool:
    """Return whether a head is a sentence encoder, as ``albeam finetune similar`` writes it."""
    return (Path(head) / _MODULES).is_file() and not (Path(head) / HEAD).exists()


def measure_similarity(options: EvaluateTaskOptions) -> Measured:
    """Compare the cosines of pairs with their known scores.

    Raises:
        BadInput: the encoder or the rows can't be used, or a text is blank.
    """
    from transforms.encoder.encoder import load_encoder

    columns = options.rows
    pairs = read_scored_pairs(
        options.data, "data", columns.first_column, columns.second_column, columns.score_column
    )
    try:
        model = find_model(ModelOptions(options.head))
    except BadInput as error:
        raise BadInput("head", options.head, error.problem, error.remedy) from error
    encoder = load_encoder(model, options.placement)
    kept = np.flatnonzero(
        [bool(a.strip() and b.strip()) for a, b in zip(pairs.first, pairs.second, strict=True)]
    )
    source = ", ".join(map(str, options.data))
    if len(kept) < 2:
        raise BadInput("data", source, "has fewer than two pairs of texts", "Give other data")
    some = pairs.take(kept)
    found = similarities(encoder, some.first, some.second).astype(np.float64)
    metrics = similarity_metrics(some.scores, found, seed=options.seed)
    return Measured(
        source=source,
        rows=len(some),
        left_out=len(pairs) - len(some),
        metrics=metrics,
        page=lambda: similarity_page(metrics, some.scores, found, worst_pairs(some, found)),
        identity=[
            ("encoder", model.identity.name),
            ("weights", f"sha256 {model.identity.weights_sha256}"),
            ("similarity", "cosine of both vectors"),
        ],
    )
