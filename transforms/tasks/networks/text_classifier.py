"""A whole network that classifies texts, as ``albeam finetune classify`` writes it, at work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.models.options import Placement
from transforms.runtime.once import Once
from transforms.tasks.networks.network_files import BATCH_TOKENS, load_network

Scores = npt.NDArray[np.float32]


class TextClassifier:
    """A classifier that is loaded."""

    def __init__(self, folder: str, placement: Placement) -> None:
        """Load a classifier; see `load_network`."""
        self.settings, self._network, self._tokenizer = load_network(folder, "classify", placement)

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return the probability of each class of each text, float32 ``[texts, classes]``.

        A long text is read in windows, and the mean of their scores decides.
        """
        import torch

        from transforms.tasks.networks.batches import validation_batches
        from transforms.tasks.networks.classification import text_scores
        from transforms.tasks.networks.windows import cut_windows

        if not len(texts):
            return np.zeros((0, len(self.settings.classes.names)), np.float32)
        settings = self.settings
        windows = cut_windows(self._tokenizer, texts, settings.max_tokens, settings.overlap)
        with torch.inference_mode():
            logits = text_scores(self._network, validation_batches(windows, BATCH_TOKENS))
            found = torch.from_numpy(logits)
            shares = found.sigmoid() if settings.classes.several else found.softmax(dim=1)
        scores: Scores = shares.numpy().astype(np.float32)
        return scores


#: The classifier that all threads of a process share.
classifier_of = Once(TextClassifier, 1)
