"""The heads of rerankers and readers in numpy: what transformers puts on ALBERT and BERT."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.encoder.light.functions import Floats
from transforms.encoder.light.network import MissingTensor
from transforms.models.plain_config import PlainConfig

#: The layer that pools the first token's state, by the family.
_POOLERS = {"albert": "albert.pooler", "bert": "bert.pooler.dense"}
#: The labels of a network whose config does not say.
_USUAL_LABELS = 2


class SpanHead:
    """Gives each token a logit to be the first of an answer, and one to be the last."""

    def __init__(self, config: PlainConfig, tensors: dict[str, Floats], labels: int) -> None:
        """Take the weights of ``…ForQuestionAnswering``; raises MissingTensor if they don't fit."""
        if labels != 2:
            raise MissingTensor("qa_outputs.weight")
        self._weight, self._bias = _linear(tensors, "qa_outputs", 2, config.hidden_size)

    def __call__(self, states: Floats, lengths: npt.NDArray[np.int64]) -> list[Floats]:
        """Return the logits of each sequence, float32 ``[2, tokens]``, from its states."""
        logits = (states @ self._weight.T + self._bias).T
        return np.split(logits, np.cumsum(lengths)[:-1], axis=1)


class ClassHead:
    """Gives each sequence a logit for each label."""

    def __init__(self, config: PlainConfig, tensors: dict[str, Floats], labels: int) -> None:
        """Take the weights of ``…ForSequenceClassification``; raises MissingTensor."""
        width = config.hidden_size
        pooler = _POOLERS[config.model_type]
        self._pool_weight, self._pool_bias = _linear(tensors, pooler, width, width)
        self._weight, self._bias = _linear(tensors, "classifier", labels, width)

    def __call__(self, states: Floats, lengths: npt.NDArray[np.int64]) -> list[Floats]:
        """Return the logits of each sequence, float32 ``[1, labels]``, from its states."""
        first = states[np.cumsum(lengths) - lengths]
        pooled = np.tanh(first @ self._pool_weight.T + self._pool_bias)
        return list((pooled @ self._weight.T + self._bias)[:, None])


#: The heads by the end of transformers' ``AutoModelFor…``.
HEADS: dict[str, type[SpanHead] | type[ClassHead]] = {
    "QuestionAnswering": SpanHead,
    "SequenceClassification": ClassHead,
}


def count_labels(config: dict[str, Any]) -> int:
    """Return the number of labels that a ``config.json`` means; 0 if it says nothing usual."""
    labels, number = config.get("id2label"), config.get("num_labels")
    if labels is not None:
        return len(labels) if isinstance(labels, dict) and number is None else 0
    return number if type(number) is int else _USUAL_LABELS * (number is None)


def _linear(
    tensors: dict[str, Floats], name: str, rows: int, columns: int
) -> tuple[Floats, Floats]:
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or bias is None or weight.shape != (rows, columns) or bias.shape != (rows,):
        raise MissingTensor(name)
    return weight, bias
