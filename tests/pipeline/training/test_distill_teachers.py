"""Distillation of two teachers, and of teachers in another precision."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.training.distill import distill
from pipeline.training.options import DistillOptions
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.runtime.devices import supports_int8
from transforms.training.teacher import read_part


@pytest.fixture(scope="module")
def second(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a teacher with other vectors."""
    folder = tmp_path_factory.mktemp("second") / "second"
    shutil.copytree(teacher, folder)
    weights = load_file(folder / "model.safetensors")
    dice = np.random.default_rng(3)
    changed = {
        name: each + dice.normal(scale=0.05, size=each.shape).astype(each.dtype)
        for name, each in weights.items()
    }
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def again(options: DistillOptions) -> None:
    """Distil; a training with other settings starts in the same folder."""
    (options.work / "checkpoint.pt").unlink(missing_ok=True)
    distill(options)


def vectors(work: Path) -> list[np.ndarray]:
    return [read_part(path)[0] for path in sorted(work.glob("teacher-*/part-*.parquet"))]


def test_two_teachers_teach_and_are_named(options: DistillOptions, second: Path) -> None:
    both = replace(options, second_teacher=second, epochs=0.5)
    result = distill(both)
    assert result.score > 0
    card = (both.output / "README.md").read_text()
    assert "| second teacher | second |" in card
    assert "| share of the second teacher | 0.5 |" in card
    [joined] = vectors(both.work)
    # One teacher has vectors and a checkpoint of its own in the same folder.
    again(replace(options, epochs=0.5))
    assert len(list(both.work.glob("teacher-*"))) == 2
    alone = next(each for each in vectors(both.work) if not np.array_equal(each, joined))
    near = (joined.astype(np.float32) * alone.astype(np.float32)).sum(1)
    assert 0.5 < near.mean() < 0.9999


def test_the_common_space_is_kept(options: DistillOptions, second: Path) -> None:
    both = replace(options, second_teacher=second, epochs=0.1)
    distill(both)
    before = vectors(both.work)
    for part in both.work.glob("teacher-*/part-*.parquet"):
        part.unlink()
    again(both)
    assert all(map(np.array_equal, before, vectors(both.work)))


@pytest.mark.skipif(not supports_int8(), reason="this CPU has no fast products of bytes")
def test_a_teacher_in_int8_gives_nearly_its_vectors(options: DistillOptions) -> None:
    distill(replace(options, epochs=0.1))
    [exact] = vectors(options.work)
    again(replace(options, epochs=0.1, teacher_precision="int8"))
    rounded = next(each for each in vectors(options.work) if not np.array_equal(each, exact))
    near = (exact.astype(np.float32) * rounded.astype(np.float32)).sum(1)
    assert near.min() > 0.98


def test_what_can_not_be(options: DistillOptions, tmp_path: Path) -> None:
    with raises(BadInput, "second_share", 0.3, "there is none"):
        replace(options, second_share=0.3)
    with raises(BadInput, "teacher_precision", "int4"):
        replace(options, teacher_precision="int4")
    with raises(BadInput, "teacher", tmp_path / "none"):
        distill(replace(options, second_teacher=tmp_path / "none"))
