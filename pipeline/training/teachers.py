"""The teachers that ``albeam distill`` is given: their part of the settings, and loading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.training.options import DistillOptions
from pipeline.training.work_folder import fingerprint
from transforms.models.options import Placement
from transforms.training.joined_teacher import JoinedSpace, JoinedTeacher, fit_space
from transforms.training.teacher import Teacher, check_teacher

#: Texts to which the common space of two teachers is fitted.
_FITTED = 3_000
#: The file of that space in the folder of the vectors.
_SPACE = "space.npz"


def check_teachers(options: DistillOptions) -> None:
    """Raise BadInput unless each teacher is a sentence encoder that pools by mean."""
    for folder in (options.teacher, options.second_teacher):
        if folder is not None:
            check_teacher(folder)


def teacher_settings(options: DistillOptions) -> dict[str, object]:
    """Return what decides the teachers' vectors. One exact teacher has the key that it ever had."""
    found: dict[str, object] = {"teacher": fingerprint(options.teacher / "model.safetensors")}
    if options.second_teacher is not None:
        found["second_teacher"] = fingerprint(options.second_teacher / "model.safetensors")
        found["second_share"] = options.second_share
    if options.teacher_precision != DistillOptions.teacher_precision:
        found["teacher_precision"] = options.teacher_precision
    return found


def load_teacher(
    options: DistillOptions, placement: Placement, texts: Sequence[str], folder: Path
) -> Teacher | JoinedTeacher:
    """Load the teacher, or both as one.

    Args:
        options: the options of the command.
        placement: where the student is trained.
        texts: the texts in their order; the space of two teachers is fitted to some of them.
        folder: the folder of the vectors, which keeps that space.
    """
    if options.teacher_precision != "auto":
        placement = Placement(placement.device, options.teacher_precision)
    first = Teacher(options.teacher, placement)
    if options.second_teacher is None:
        return first
    second = Teacher(options.second_teacher, placement)
    if not (folder / _SPACE).exists():
        sample = texts[:: max(1, len(texts) // _FITTED)][:_FITTED]
        made = fit_space(first, second, sample, options.second_share, options.max_tokens)
        made.save(folder / _SPACE)
    return JoinedTeacher(first, second, JoinedSpace.load(folder / _SPACE))
