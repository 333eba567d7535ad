"""A network with its weights in float16: what it reads, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deploy.model.half import halve
from tests.support.models import make_pair_model
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.reader import Reader


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a tiny reader."""
    folder = tmp_path_factory.mktemp("half") / "reader"
    make_pair_model(folder, "read", 2)
    return str(folder)


def test_a_reader_answers_as_before_with_half_of_the_bytes(reader: str, tmp_path: Path) -> None:
    size = halve(Path(reader), tmp_path / "half")
    assert size < 0.6 * (Path(reader) / "model.safetensors").stat().st_size
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert {each.dtype for each in weights.values()} == {np.dtype("float16")}
    pairs = [("what is a stone", "the river has a stone and a paper in winter")]
    [before] = Reader(reader, Placement()).spans(pairs)
    [after] = Reader(str(tmp_path / "half"), Placement()).spans(pairs)
    assert before is not None
    assert after is not None
    assert after.text == before.text
    assert after.score == pytest.approx(before.score, abs=0.05)


def test_what_can_not_be_halved(reader: str, tmp_path: Path) -> None:
    with raises(BadInput, "folder", tmp_path, "model.safetensors"):
        halve(tmp_path, tmp_path / "half")
    with raises(BadInput, "output", tmp_path):
        halve(Path(reader), tmp_path)
    large = tmp_path / "large"
    shutil.copytree(reader, large)
    weights = load_file(large / "model.safetensors")
    name = next(iter(weights))
    weights[name] = np.full_like(weights[name], 1e6)
    save_file(weights, large / "model.safetensors", metadata={"format": "pt"})
    with raises(BadInput, "folder", large, name):
        halve(large, tmp_path / "half")
    assert not (tmp_path / "half").exists()
