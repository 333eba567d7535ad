"""A head on stored vectors: multinomial logistic regression, and how it scores vectors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.models.identity import ModelIdentity
from transforms.tasks.data.labels import Classes

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VectorHead:
    """A linear classifier of documents by their vectors.

    Attributes:
        classes: the classes, in the order of the scores.
        encoder: the model of the vectors; vectors of another one mean nothing to the head.
        weights: float32 ``[classes, dim]``.
        bias: float32 ``[classes]``.
        settings: how it was fitted.
        metrics: what was measured on held-out documents; empty if nothing was.
    """

    classes: Classes
    encoder: ModelIdentity
    weights: Vectors
    bias: Vectors
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def scores(self, vectors: Vectors) -> Scores:
        """Return the probability of each class for vectors ``[documents, dim]``.

        Returns:
            float32 ``[documents, classes]``; each row adds up to 1, unless a document may have
            several classes.
        """
        products = vectors.astype(np.float64) @ self.weights.T.astype(np.float64) + self.bias
        if self.classes.several:
            shares = 0.5 * (1 + np.tanh(products / 2))
        else:
            powers = np.exp(products - products.max(axis=1, keepdims=True))
            shares = powers / powers.sum(axis=1, keepdims=True)
        scores: Scores = shares.astype(np.float32)
        return scores

    def digest(self) -> str:
        """Return the SHA-256 of what decides the predictions: classes, encoder, weights."""
        named = [self.classes.names, self.classes.integers, self.classes.several]
        content = json.dumps([named, self.encoder.to_dict()], sort_keys=True).encode()
        content += self.weights.tobytes() + self.bias.tobytes()
        return hashlib.sha256(content).hexdigest()

    def check_encoder(self, name: str, other: ModelIdentity, of: str) -> None:
        """Raise BadInput if vectors are of another encoder than those that the head learnt from.

        Args:
            name: the user's name for the head.
            other: the encoder of the vectors.
            of: what has the vectors, such as a store.
        """
        if difference := self.encoder.difference(other):
            raise BadInput(
                "head",
                name,
                f"was fitted on vectors of the encoder {self.encoder.name}, and {of} has those of "
                f"{other.name} ({difference})",
                f"Fit a head on {of} with albeam classify",
            )


def document_vectors(places: npt.NDArray[np.int64], vectors: Vectors) -> Vectors:
    """Return a vector for each document: the mean of its passages' vectors, with length 1.

    Args:
        places: the row at which each document's passages begin, ascending from 0.
        vectors: vectors of passages, float32 ``[passages, dim]``.
    """
    sums = np.add.reduceat(vectors.astype(np.float64), places, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means: Vectors = (sums / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return means
