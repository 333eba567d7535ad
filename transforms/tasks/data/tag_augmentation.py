"""Changed copies of training texts with tags: words of entities keep their places and tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from transforms.tasks.data.augmentation import Neighbours, Word, change_words, joined
from transforms.tasks.data.bio import OUTSIDE
from transforms.tasks.data.tag_rows import TagRows


def augment_tagged(
    rows: TagRows, ways: Sequence[str], seed: Sequence[int], near: Neighbours
) -> TagRows:
    """Return a changed copy of each text; equal seeds give equal copies.

    Words outside of entities are exchanged with such a neighbour, left out, or replaced by a near
    word. The case of any word may change. A text keeps at least one word.

    Args:
        rows: the texts.
        ways: some of `AUGMENTATIONS`, applied in this order.
        seed: the numbers that decide what changes.
        near: the words that may replace a word, for ``synonym``.
    """
    rng = np.random.default_rng(list(seed))
    texts, edges, kept = [], [], []
    for text, spans, tags in zip(rows.texts, rows.words, rows.tags, strict=True):
        ends = [0, *spans[:, 1].tolist()]
        words = [
            Word(text[start:end], text[before:start], tag, moves=tag == OUTSIDE)
            for (start, end), before, tag in zip(spans.tolist(), ends, tags, strict=False)
        ]
        words = change_words(words, ways, rng, near)
        changed, places = joined(words)
        texts.append(changed + text[ends[-1] :])
        edges.append(places)
        kept.append([word.mark for word in words])
    return replace(rows, texts=texts, words=edges, tags=kept)
