"""Rerankers: cross-encoders that score how well a passage answers a question."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.models.file_digests import hash_files, weights_files
from transforms.models.options import Placement
from transforms.search.pair_model import Pair, PairModel
from transforms.search.results import Hit


class Reranker(PairModel):
    """A sequence classifier that scores passages, with one output or two labels.

    The second of two labels means that the passage answers the question.
    """

    option, head, task = "reranker", "SequenceClassification", "rerank"

    def __init__(self, name: str, placement: Placement) -> None:
        """Load the model as `PairModel` does; raises BadInput if it has more than two labels."""
        super().__init__(name, placement)
        labels = self.model.labels
        if labels > 2:
            remedy = "Give a model with one output, or with two labels, the second for relevant"
            raise BadInput(self.option, name, f"has {labels} labels", remedy)

    @cached_property
    def digest(self) -> str:
        """The digest of its weights, which tells it from other rerankers."""
        return hash_files(weights_files(self.folder))

    def scores(self, pairs: Sequence[Pair]) -> npt.NDArray[np.float32]:
        """Return how well each passage answers its question, float32 ``[pairs]``.

        A score is the logit, or the second label's logit less the first's.
        """
        if not pairs:
            return np.zeros(0, np.float32)
        # The last bits may depend on the place in a batch, so equal pairs are scored once.
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        _, found = self.read(list(places))
        logits = np.concatenate(found)
        scores = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        if not np.isfinite(scores).all():
            problem = f"gives scores that are not finite in {self.dtype}"
            raise BadInput(self.option, self.name, problem, "Give --dtype float32")
        return np.asarray(scores[[places[pair] for pair in pairs]])


def rerank(hits: Sequence[Hit], question: str, model: Reranker) -> list[Hit]:
    """Return the hits in the order of the model's scores, with these scores."""
    scores = model.scores([(question, hit.text) for hit in hits])
    order = np.argsort(-scores, kind="stable")
    return [
        replace(hits[place], rank=rank, score=float(scores[place]))
        for rank, place in enumerate(order, 1)
    ]
