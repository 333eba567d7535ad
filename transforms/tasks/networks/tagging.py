"""The training of a tagger, and the tags that it gives. A word has the tag of its first piece.

A word in several windows is read in the one where it is farthest from the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from transforms.encoder.batching import pad
from transforms.tasks.data.bio import OUTSIDE, Spans, entities
from transforms.tasks.networks.batches import WindowBatch
from transforms.tasks.networks.head_network import HeadNetwork
from transforms.tasks.networks.windows import Int64, Windows

#: The label of what no loss is computed for.
_IGNORED = -100


@dataclass(frozen=True)
class WordPlaces:
    """Where the words of some texts are read, ``[words]`` over all texts.

    Attributes:
        windows: the window of each word; -1 for a word without tokens.
        places: the place of its first piece in the window.
    """

    windows: Int64
    places: Int64


def place_words(windows: Windows, words: Sequence[Spans]) -> WordPlaces:
    """Find the window and the place in which each word is read.

    Args:
        windows: the windows of the texts, with offsets.
        words: the code points of each text's words.
    """
    firsts = np.searchsorted(windows.texts, np.arange(len(words) + 1))
    found_windows, found_places = [], []
    lengths = windows.lengths - windows.special
    for text, spans in enumerate(words):
        offsets = windows.offsets[text]
        pieces = np.searchsorted(offsets[:, 1], spans[:, 0], side="right")
        inside = pieces < len(offsets)
        inside[inside] &= offsets[pieces[inside], 0] < spans[inside, 1]
        own = np.arange(firsts[text], firsts[text + 1])
        # The distance of each piece to the nearer edge of each window; negative outside.
        begin = windows.firsts[own][:, None]
        edge = np.minimum(pieces - begin, begin + lengths[own][:, None] - 1 - pieces)
        best = own[edge.argmax(axis=0)] if len(spans) else np.zeros(0, np.int64)
        found_windows.append(np.where(inside, best, -1))
        found_places.append(pieces - windows.firsts[best] + windows.prefix)
    empty = np.zeros(0, np.int64)
    return WordPlaces(
        np.concatenate([empty, *found_windows]), np.concatenate([empty, *found_places])
    )


class TaggerObjective:
    """The loss and the validation of a tagger."""

    def __init__(
        self, network: HeadNetwork, windows: Windows, places: WordPlaces, codes: Sequence[Int64]
    ) -> None:
        """Combine a network with its training texts.

        Args:
            network: the network to train.
            windows: the windows of the training texts.
            places: where their words are read.
            codes: the class of each word, for each text.
        """
        self.network = network
        self.labels = [np.full(len(ids), _IGNORED, np.int32) for ids in windows.ids]
        for window, place, code in zip(
            places.windows, places.places, np.concatenate(codes), strict=True
        ):
            if window >= 0:
                self.labels[window][place] = code

    def loss(self, batch: WindowBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the mean cross entropy of a batch's words, and no parts to report."""
        logits = self.network.logits(batch)
        known = pad([self.labels[row] for row in batch.rows], _IGNORED).to(logits.device)
        losses = cross_entropy(logits.flatten(0, 1), known.flatten(), reduction="sum")
        return losses / (known != _IGNORED).sum().clamp(min=1), {}

    def evaluate(
        self, batches: Sequence[WindowBatch], places: WordPlaces, known: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        """Tag validation texts.

        Args:
            batches: the batches of all their windows.
            places: where their words are read.
            known: the tags of each text's words.

        Returns:
            ``score``: the F1 of entities whose type and words are right, ``precision``, ``recall``,
            and ``accuracy``: the share of the words with the right tag.
        """
        codes, _ = word_classes(self.network, batches, places)
        names = self.network.classes.names
        hits = given = found = right = first = 0
        for tags in known:
            guess = [names[code] for code in codes[first : first + len(tags)]]
            first += len(tags)
            wanted, predicted = set(entities(tags)), set(entities(guess))
            hits += len(wanted & predicted)
            given += len(wanted)
            found += len(predicted)
            right += sum(a == b for a, b in zip(tags, guess, strict=True))
        return {
            "score": 2 * hits / max(1, given + found),
            "precision": hits / max(1, found),
            "recall": hits / max(1, given),
            "accuracy": right / max(1, first),
        }


def word_classes(
    network: HeadNetwork, batches: Sequence[WindowBatch], places: WordPlaces
) -> tuple[Int64, npt.NDArray[np.float32]]:
    """Return the class of each word, and its probability; ``O`` for a word without tokens."""
    order = np.argsort(places.windows, kind="stable")
    edges = np.searchsorted(places.windows[order], np.arange(len(batches[0].windows) + 1))
    codes = np.full(len(places.windows), network.classes.names.index(OUTSIDE), np.int64)
    scores = np.ones(len(places.windows), np.float32)
    for batch in batches:
        best = network.logits(batch).softmax(-1).max(-1)
        values, found = best.values.cpu().numpy(), best.indices.cpu().numpy()
        for row, window in enumerate(batch.rows):
            words = order[edges[window] : edges[window + 1]]
            codes[words] = found[row, places.places[words]]
            scores[words] = values[row, places.places[words]]
    return codes, scores
