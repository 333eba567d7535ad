"""Changed copies of training texts with tags: words of entities keep their places and tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from transforms.tasks.data.augmentation import Neighbours, change_case, chosen
from transforms.tasks.data.bio import OUTSIDE
from transforms.tasks.data.tag_rows import TagRows

#: A word, the white space or other text before it, and its tag.
_Word = tuple[str, str, str]


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
    changes: dict[str, Callable[[list[_Word]], list[_Word]]] = {
        "swap": lambda words: _swap(words, rng),
        "delete": lambda words: _delete(words, rng),
        "case": lambda words: _case(words, rng),
        "synonym": lambda words: _replace(words, rng, near),
    }
    made = TagRows(rows.option, rows.source, [], [], [], rows.repaired)
    for text, spans, tags in zip(rows.texts, rows.words, rows.tags, strict=True):
        ends = [0, *spans[:, 1].tolist()]
        words = [
            (text[start:end], text[before:start], tag)
            for (start, end), before, tag in zip(spans.tolist(), ends, tags, strict=False)
        ]
        for way in ways:
            words = changes[way](words)
        pieces = [piece for word, gap, _ in words for piece in (gap, word)]
        edges = np.cumsum([0, *map(len, pieces)], dtype=np.int64)[1:]
        made.texts.append("".join(pieces) + text[ends[-1] :])
        made.words.append(edges.reshape(-1, 2))
        made.tags.append([tag for _, _, tag in words])
    return made


def _outside(words: Sequence[_Word]) -> list[bool]:
    return [tag == OUTSIDE for _, _, tag in words]


def _swap(words: list[_Word], rng: np.random.Generator) -> list[_Word]:
    """Exchange some words with the next one; the characters between words stay."""
    words, free = list(words), _outside(words)
    for place in chosen(words[1:], rng):
        if free[place] and free[place + 1]:
            (one, before, tag), (other, between, _) = words[place : place + 2]
            words[place : place + 2] = [(other, before, tag), (one, between, tag)]
    return words


def _delete(words: list[_Word], rng: np.random.Generator) -> list[_Word]:
    gone = set(chosen(words, rng))
    free = _outside(words)
    return [
        word for place, word in enumerate(words) if place not in gone or not free[place]
    ] or words[:1]


def _case(words: list[_Word], rng: np.random.Generator) -> list[_Word]:
    changed = change_case([word for word, _, _ in words], rng)
    return [(word, gap, tag) for word, (_, gap, tag) in zip(changed, words, strict=True)]


def _replace(words: list[_Word], rng: np.random.Generator, near: Neighbours) -> list[_Word]:
    words = list(words)
    for place in chosen(words, rng):
        word, gap, tag = words[place]
        choices = near.get(word.lower(), ()) if tag == OUTSIDE else ()
        if choices:
            words[place] = choices[int(rng.integers(len(choices)))], gap, tag
    return words
