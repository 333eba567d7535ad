"""Two teachers as one: their common space, and the vectors and words in it."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.training import sample_texts
from transforms.models.options import Placement
from transforms.training.joined_teacher import (
    JoinedSpace,
    JoinedTeacher,
    encode_prompted,
    fit_space,
)
from transforms.training.teacher import Teacher

TEXTS = sample_texts(60)


def unit(rows: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, width)) + shift
    made: np.ndarray = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return made


def test_similarities_are_the_weighted_mean_of_both() -> None:
    # Vectors of few dimensions have all their variance in the axes that are kept.
    first = np.pad(unit(50, 3, 0), [(0, 0), (0, 5)])
    second = np.pad(unit(50, 4, 1, shift=0.8), [(0, 0), (0, 2)])
    centered = second - second.mean(0)
    centered /= np.sqrt(np.square(centered).sum(1).mean())
    for share in (0.0, 0.3, 1.0):
        found = JoinedSpace.fit(first, second, share).join(first, second)
        right = (1 - share) * first @ first.T + share * centered @ centered.T
        assert found.shape == first.shape
        assert np.abs(found @ found.T - right).max() < 1e-4


def test_space_is_near_the_first_teacher() -> None:
    first, second = unit(200, 8, 0), unit(200, 6, 1, shift=0.5)
    assert np.abs(JoinedSpace.fit(first, second, 0.0).join(first, second) - first).max() < 1e-4
    near = np.sum(JoinedSpace.fit(first, second, 0.3).join(first, second) * first, 1)
    far = np.sum(JoinedSpace.fit(first, second, 0.9).join(first, second) * first, 1)
    assert near.mean() > far.mean() > 0


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    first, second = unit(20, 4, 0), unit(20, 3, 1)
    space = JoinedSpace.fit(first, second, 0.5)
    space.save(tmp_path / "space.npz")
    again = JoinedSpace.load(tmp_path / "space.npz")
    assert np.array_equal(again.join(first, second), space.join(first, second))


@pytest.fixture(scope="module")
def both(teacher: Path) -> tuple[Teacher, Teacher]:
    placement = Placement("cpu", "float32")
    second = Teacher(teacher, placement)
    second.encoder.identity = second.encoder.identity.__class__(
        **{**vars(second.encoder.identity), "query_prompt": "river ", "passage_prompt": "stone "}
    )
    return Teacher(teacher, placement), second


def test_prompts_change_the_vectors_and_are_no_words(both: tuple[Teacher, Teacher]) -> None:
    first, second = both
    texts = ["silver ocean", "silver ocean " * 15]
    vectors, words = encode_prompted(second, texts, 64)
    plain = first.encode([f"river {texts[0]}", f"stone {texts[1]}"], 64)[0]
    assert np.array_equal(vectors, plain)
    assert [len(each) for each in words] == [len(text.split()) + 2 for text in texts]


def test_words_and_texts_are_in_one_space(both: tuple[Teacher, Teacher]) -> None:
    first, second = both
    space = fit_space(first, second, TEXTS, 0.5, 64)
    vectors, words = JoinedTeacher(first, second, space).encode(TEXTS, 64)
    near = []
    assert vectors.dtype == np.float16
    assert np.linalg.norm(vectors.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    for vector, each, own in zip(vectors, words, first.encode(TEXTS, 64)[1], strict=True):
        assert len(each) == len(own)
        mean = each.astype(np.float32).mean(0)
        near.append(mean @ vector.astype(np.float32) / np.linalg.norm(mean))
    # A word counts once here, and with each of its tokens there.
    assert np.mean(near) > 0.9


def test_a_text_that_one_teacher_cuts_has_words_that_do_not_count(
    both: tuple[Teacher, Teacher],
) -> None:
    first, second = both
    space = fit_space(first, second, TEXTS, 0.5, 64)
    # The prompt of the second teacher takes one of the eight places.
    text = "garden winter summer light dark music"
    [words] = JoinedTeacher(first, second, space).encode([text], 8)[1]
    assert len(words) == len(text.split()) + 2
    assert np.abs(words).sum(1).astype(bool).tolist() == [True] * 6 + [False] * 2
