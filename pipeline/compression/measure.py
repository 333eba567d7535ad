"""Measure a model and a smaller one: size, speed and quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.compression.options import CompressOptions
from pipeline.compression.summary import ModelFigures, Saving
from transforms.compression.comparison import (
    Speeds,
    best_passages,
    cosines,
    framed,
    measure_speeds,
)
from transforms.compression.importance import Importance
from transforms.compression.pruning import parameters, products_per_token, prune
from transforms.compression.sizes import Sizes
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.errors import BadInput
from transforms.evaluation.metrics import measure
from transforms.evaluation.questions import Question, load_questions
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.training.inputs import read_columns

Weights = Mapping[str, npt.NDArray[np.floating[Any]]]
_DEPTH = 10
#: Held-out texts that speed is measured on.
_TIMED = 200
_HEADS_NOTE = (
    "The heads that remain are wider, so that they save neither parameters nor products: only "
    "softmax has fewer rows."
)
_SHARED_NOTE = "The layers share their weights, so that fewer of them save time, not size."


@dataclass(frozen=True)
class Corpus:
    """Passages, and questions with those that answer them."""

    ids: list[str]
    passages: list[str]
    questions: list[Question]

    def ndcg(self, encoder: Encoder) -> float:
        """Return nDCG@10 of an encoder's vectors."""
        asked = [question.question for question in self.questions]
        found = best_passages(encoder, asked, self.passages, _DEPTH)
        runs = {
            question.question_id: [(self.ids[place], score) for place, score in best]
            for question, best in zip(self.questions, found, strict=True)
        }
        return measure(self.questions, runs, _DEPTH)[f"ndcg@{_DEPTH}"]


@dataclass(frozen=True)
class Comparison:
    """What was measured of both models.

    Attributes:
        original, compressed: their figures.
        speeds: their speeds by turns.
        cosines: those of held-out texts, one each.
    """

    original: ModelFigures
    compressed: ModelFigures
    speeds: Speeds
    cosines: npt.NDArray[np.float64]


def read_corpus(options: CompressOptions) -> Corpus | None:
    """Read questions and passages; None if there are none.

    Raises:
        BadInput: a file can't be used, or no passage answers any question.
    """
    if options.questions is None or options.passages is None:
        return None
    table = read_columns(options.passages, "passages", {"id": "id", "text": "text"}).to_pydict()
    ids = [str(one) for one in table["id"]]
    questions = load_questions(str(options.questions))
    known = set(ids)
    if not any(known.intersection(question.relevant) for question in questions):
        raise BadInput(
            "questions",
            str(options.questions),
            f"name no passage of {options.passages}",
            "Give the passages that answer the questions",
        )
    return Corpus(ids, table["text"], questions)


def compare(
    options: CompressOptions,
    folder: Path,
    original: tuple[Any, Weights],
    smaller: tuple[Any, Weights],
    texts: Sequence[str],
    corpus: Corpus | None,
) -> Comparison:
    """Measure the model of the options, and the smaller one in a folder.

    Args:
        options: the options of the command.
        folder: where the smaller model is.
        original: config and weights of the model.
        smaller: config and weights of the smaller one.
        texts: those that are held out.
        corpus: what nDCG@10 is measured on; None for nothing.
    """
    first, second = (
        load_encoder(find_model(ModelOptions(str(path))), Placement(options.device, "auto"))
        for path in (options.model, folder)
    )
    speeds = measure_speeds(first, second, framed(first, texts[:_TIMED], options.seed))
    before, after = (
        encoder.encode_texts(list(texts), encoder.identity.passage_prompt)
        for encoder in (first, second)
    )
    return Comparison(
        _figures(original, options.model, speeds.original, _ndcg(corpus, first)),
        _figures(smaller, folder, speeds.smaller, _ndcg(corpus, second)),
        speeds,
        cosines(before, after),
    )


def _ndcg(corpus: Corpus | None, encoder: Encoder) -> float | None:
    return None if corpus is None else corpus.ndcg(encoder)


def _figures(
    network: tuple[Any, Weights], folder: Path, rate: float, ndcg: float | None
) -> ModelFigures:
    config, weights = network
    sizes = Sizes.of(config)
    return ModelFigures(
        sizes.layers,
        sizes.heads,
        sizes.inner,
        parameters(weights),
        (folder / "model.safetensors").stat().st_size,
        products_per_token(config),
        rate,
        ndcg,
    )


def savings(
    config: Any, weights: Weights, sizes: Sizes, importance: Mapping[str, Importance]
) -> tuple[Saving, ...]:
    """Return what each kind of pruning saves by itself."""
    before = Sizes.of(config)
    kinds = {
        "layers": replace(before, layers=sizes.layers, groups=sizes.groups),
        "heads": replace(before, heads=sizes.heads),
        "inner": replace(before, inner=sizes.inner),
    }
    found = []
    for what, alone in kinds.items():
        if alone == before:
            continue
        smaller, rest = prune(config, weights, alone, importance)
        lost = parameters(weights) - parameters(rest)
        note = _HEADS_NOTE if what == "heads" else ""
        if what == "layers" and not lost:
            note = _SHARED_NOTE
        found.append(
            Saving(
                what,
                getattr(before, what),
                getattr(alone, what),
                lost,
                products_per_token(config) - products_per_token(smaller),
                note,
            )
        )
    return tuple(found)
