"""The records of a training: ``history.jsonl``, and event files that TensorBoard shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from transforms.errors import BadInput
from transforms.training.trainer import Progress

HISTORY = "history.jsonl"


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the metrics of each evaluation as one line of JSON."""
    lines = "".join(json.dumps(dict(each)) + "\n" for each in history)
    (folder / HISTORY).write_text(lines, encoding="utf-8")


def event_writer(folder: Path) -> Callable[[Progress], None]:
    """Return a function that writes the result of each evaluation to event files.

    Raises:
        BadInput: the package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BadInput(
            "tensorboard",
            None,
            "needs the package tensorboard, which is not installed",
            "Install it: pip install tensorboard",
        ) from error
    writer = SummaryWriter(str(folder))

    def write(progress: Progress) -> None:
        known = {} if progress.loss is None else {"loss": progress.loss}
        for name, value in {**known, **progress.metrics}.items():
            writer.add_scalar(name, value, progress.step)
        writer.flush()

    return write
