"""What the tests of the trainings of heads share: the rows' words, and how a training resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support.training import kill_at

#: Words that readers and taggers learn to find.
PLACES = ("river", "village", "island")


def quiet(_: str) -> None:
    """Take the lines of a training, and show none."""


def same_weights(one: Path, other: Path) -> bool:
    """Say whether two folders have the same weights, bit for bit."""
    left, right = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert left.keys() == right.keys()
    return all(np.array_equal(left[name], right[name]) for name in left)


def history(folder: Path) -> list[dict[str, float]]:
    """Return the evaluations of a training, from the folder of its model."""
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def assert_resumes(
    train: Callable[..., Any],
    options: Any,
    monkeypatch: pytest.MonkeyPatch,
    step: int = 4,
    log: Callable[[str], object] = quiet,
) -> None:
    """Assert that a training that is killed after a step gives the weights of a whole one.

    Args:
        train: the function of the command.
        options: its options; its folders are those of the training that is killed.
        monkeypatch: kills it.
        step: the step after which it is killed.
        log: receives the lines of the whole training.
    """
    beside = options.output.with_name
    whole = replace(options, output=beside("whole"), work=beside("whole.work"))
    train(whole, log)
    revive = kill_at(monkeypatch, step)
    with pytest.raises(KeyboardInterrupt):
        train(options, quiet)
    revive()
    train(replace(options, resume=True), quiet)
    assert same_weights(whole.output, options.output)
    # The written weights may be those of an early step.
    one, other = ([each["score"] for each in history(o.output)] for o in (whole, options))
    assert one == other
