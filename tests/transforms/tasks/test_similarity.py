"""Similarities of texts."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.models import make_texts
from tests.support.raising import raises
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.tasks.prediction.similarity import similarities


@pytest.fixture(scope="module")
def encoder(albert: Path) -> Encoder:
    return load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))


def test_similarities_are_the_cosines_of_the_vectors(encoder: Encoder) -> None:
    first, second = make_texts(9, seed=1), make_texts(9, seed=2)
    one, other = encoder.encode_texts(first), encoder.encode_texts(second)
    expected = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1)
    expected /= np.linalg.norm(other, axis=1)
    found = similarities(encoder, first, second)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(similarities(encoder, second, first), found, atol=1e-6)


def test_equal_texts_have_exactly_one_and_blank_ones_are_refused(encoder: Encoder) -> None:
    texts = make_texts(3, seed=3)
    assert similarities(encoder, texts, texts).tolist() == [1, 1, 1]
    assert similarities(encoder, [], []).shape == (0,)
    with raises(BadInput, "pair 8"):
        similarities(encoder, ["a river", "  "], ["a", "b"], row=7)
