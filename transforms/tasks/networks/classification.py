"""The training of a classifier: its loss, its class weights and its validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from transforms.tasks.data.labels import Codes
from transforms.tasks.networks.batches import WindowBatch
from transforms.tasks.networks.head_network import HeadNetwork, pooled


def class_weights(codes: Codes, classes: int) -> npt.NDArray[np.float32]:
    """Return the weight of each class: rare ones count more, and the mean over the rows is 1.

    With several labels a row, it is the weight of a row that has the class, against one without.

    Args:
        codes: what `Classes.codes` returned.
        classes: the number of classes.
    """
    if codes.ndim == 2:
        having = codes.sum(axis=0)
        found: npt.NDArray[np.float32] = (len(codes) - having) / np.maximum(having, 1)
        return found.astype(np.float32)
    counts = np.bincount(codes, minlength=classes)
    return (len(codes) / (classes * np.maximum(counts, 1))).astype(np.float32)


class ClassifierObjective:
    """The loss and the validation of a classifier. A text's windows share its label."""

    def __init__(
        self,
        network: HeadNetwork,
        codes: Codes,
        weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Combine a network with the classes of the training texts.

        Args:
            network: the network to train.
            codes: what `Classes.codes` returned for the training texts.
            weights: the weights of classes; None for equal ones.
        """
        self.network = network
        self.several = codes.ndim == 2
        self.weights = None if weights is None else torch.from_numpy(weights).to(network.device)
        self.codes = torch.from_numpy(codes.astype(np.float32) if self.several else codes)

    def loss(self, batch: WindowBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the cross entropy of a batch, and no parts to report."""
        logits = self.network.logits(batch)
        known = self.codes[torch.from_numpy(batch.texts())].to(logits.device)
        share = torch.from_numpy(batch.windows.weights[batch.rows]).to(logits.device)
        if self.several:
            losses = binary_cross_entropy_with_logits(
                logits, known, pos_weight=self.weights, reduction="none"
            ).mean(1)
        else:
            losses = cross_entropy(logits, known, reduction="none")
            if self.weights is not None:
                share = share * self.weights[known]
        return (losses * share).sum() / share.sum(), {}

    def evaluate(self, batches: Sequence[WindowBatch], known: Codes) -> dict[str, float]:
        """Classify validation texts.

        Returns:
            ``accuracy`` (of all labels of a row), ``macro_f1`` and ``micro_f1``, and ``score``: the
            accuracy; the macro F1 if classes have weights, and the micro F1 of several labels.
        """
        scores = text_scores(self.network, batches)
        one = np.eye(scores.shape[1], dtype=bool)
        found = scores >= 0 if self.several else one[scores.argmax(1)]
        right = known if self.several else one[known]
        hits = (found & right).sum(0)
        total = found.sum(0) + right.sum(0)
        f1 = 2 * hits / np.maximum(total, 1)
        metrics = {
            "accuracy": float((found == right).all(1).mean()),
            "macro_f1": float(f1[total > 0].mean()),
            "micro_f1": float(2 * hits.sum() / max(1, total.sum())),
        }
        chosen = "micro_f1" if self.several else "accuracy"
        return {"score": metrics["macro_f1" if self.weights is not None else chosen], **metrics}


def text_scores(network: HeadNetwork, batches: Sequence[WindowBatch]) -> npt.NDArray[Any]:
    """Score the texts of some batches: the mean logits of their windows, ``[texts, classes]``."""
    logits = np.concatenate([network.logits(batch).cpu().numpy() for batch in batches])
    return pooled(logits, np.concatenate([batch.texts() for batch in batches]))
