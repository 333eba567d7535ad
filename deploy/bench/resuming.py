"""Trainings of benchmarks that go on where an earlier call was stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from pipeline.training.options import TrainingOptions
from transforms.training.checkpoints import CHECKPOINT

Options = TypeVar("Options", bound=TrainingOptions)


def continued(options: Options) -> Options:
    """Return the options of a training that resumes if its work folder has a checkpoint."""
    return replace(options, resume=(options.work / CHECKPOINT).exists())
