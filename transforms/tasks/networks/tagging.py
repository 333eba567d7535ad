"""The training of a tagger, and the tags that it gives. A word has the tag of its first piece.

A word in several windows is read in the one where it is farthest from the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

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
        best = own[_farthest_from_edges(windows.firsts[own], lengths[own], pieces)]
        found_windows.append(np.where(inside, best, -1))
        found_places.append(pieces - windows.firsts[best] + windows.prefix)
    empty = np.zeros(0, np.int64)
    return WordPlaces(
        np.concatenate([empty, *found_windows]), np.concatenate([empty, *found_places])
    )


def _farthest_from_edges(begins: Int64, lengths: Int64, pieces: Int64) -> Int64:
    """Return for each piece of a text the window in which it is farthest from the edges.

    Args:
        begins: the first piece of each window, ascending.
        lengths: the pieces of each window.
        pieces: the pieces.
    """
    last = np.searchsorted(begins, pieces, side="right") - 1
    # Only so many windows before the last one can have a piece.
    step = int(np.diff(begins).min()) if len(begins) > 1 else int(lengths.max(initial=1))
    count = -(-int(lengths.max(initial=1)) // max(step, 1))
    chosen = np.maximum(last[None] - np.arange(count)[::-1, None], 0)
    before, after = pieces - begins[chosen], begins[chosen] + lengths[chosen] - 1 - pieces
    best: Int64 = chosen[np.minimum(before, after).argmax(axis=0), np.arange(len(pieces))]
    return best


@dataclass(frozen=True)
class TaggedWindows(Windows):
    """Windows of training texts.

    Attributes:
        labels: the class of each token of each window; of first pieces of words, else ignored.
    """

    labels: list[npt.NDArray[np.int32]] = field(default_factory=list)


def label_windows(
    windows: Windows, words: Sequence[Spans], codes: Sequence[Int64]
) -> TaggedWindows:
    """Return the windows of texts with the classes of their words.

    Args:
        windows: the windows, with offsets.
        words: the code points of each text's words.
        codes: the class of each word, for each text.
    """
    places = place_words(windows, words)
    labels = [np.full(len(ids), _IGNORED, np.int32) for ids in windows.ids]
    for window, place, code in zip(
        places.windows, places.places, np.concatenate(codes), strict=True
    ):
        if window >= 0:
            labels[window][place] = code
    return TaggedWindows(**{each.name: getattr(windows, each.name) for each in fields(windows)},
                         labels=labels)  # fmt: skip


class TaggerObjective:
    """The loss and the validation of a tagger."""

    def __init__(
        self, network: HeadNetwork, weights: npt.NDArray[np.float32] | None = None
    ) -> None:
        """Combine a network with the weights of its classes.

        Args:
            network: the network to train.
            weights: the weight of each class; None for equal ones.
        """
        self.network = network
        self.weights = None if weights is None else torch.from_numpy(weights).to(network.device)

    def loss(self, batch: WindowBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the mean cross entropy of a batch's words, and no parts to report."""
        assert isinstance(batch.windows, TaggedWindows)
        logits = self.network.logits(batch)
        labels = [batch.windows.labels[row] for row in batch.rows]
        known = pad(labels, _IGNORED).to(logits.device).flatten()
        losses = cross_entropy(logits.flatten(0, 1), known, self.weights, reduction="sum")
        counted = known[known != _IGNORED]
        share = counted.numel() if self.weights is None else self.weights[counted].sum()
        return losses / max(share, 1e-6), {}

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
