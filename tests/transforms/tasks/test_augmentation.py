"""Changed copies of training texts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.models import make_texts
from transforms.tasks.data.augmentation import augment, near_words
from transforms.tasks.training_options import AUGMENTATIONS

TEXTS = make_texts(50, 2, longest=40)
NEAR = {"river": ["ocean"], "music": ["colour", "paper"]}


@pytest.mark.parametrize("way", AUGMENTATIONS)
def test_each_way_changes_some_words_and_depends_on_the_seed(way: str) -> None:
    changed = augment(TEXTS, [way], (1, 0), NEAR)
    assert augment(TEXTS, [way], (1, 0), NEAR) == changed
    assert augment(TEXTS, [way], (1, 1), NEAR) != changed
    assert changed != TEXTS
    before, after = ([word for text in some for word in text.split()] for some in (TEXTS, changed))
    if way == "swap":
        assert sorted(after) == sorted(before)
    elif way == "delete":
        assert 0.8 * len(before) < len(after) < len(before)
    elif way == "case":
        assert [word.lower() for word in after] == [word.lower() for word in before]
    else:
        pairs = {(a.lower(), b) for a, b in zip(before, after, strict=True) if a != b}
        assert pairs <= {("river", "ocean"), ("music", "colour"), ("music", "paper")}


def test_the_shortest_texts_survive_every_way() -> None:
    for seed in range(30):
        assert augment(["", "river"], AUGMENTATIONS, (seed,), {})[0] == ""
        assert augment(["", "river"], AUGMENTATIONS, (seed,), {})[1].lower() == "river"


def test_near_words_are_those_with_near_vectors() -> None:
    vocabulary = {"▁film": 0, "▁movie": 1, "▁stone": 2, "ing": 3, "▁Film": 4, "[CLS]": 5}
    vectors = np.asarray([[1, 0.1], [1, 0], [0, 1], [1, 0.1], [1, 0.1], [1, 0]], np.float32)
    assert near_words(["A film", "stone"], vocabulary, vectors) == {"film": ["movie"]}
    assert near_words(["a film"], {"ing": 3}, vectors) in ({}, {"ing": []})
    assert near_words([], {}, vectors) == {}
