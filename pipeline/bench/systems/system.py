"""The interface of a measured system, and helpers that systems share."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.bench.options import PEERS
from transforms.models.options import Placement
from transforms.models.resolve import Model

Vectors = npt.NDArray[np.float32]

#: The texts of a run that does little but start up.
TINY = ("A river.", "A stone.")


@dataclass(frozen=True)
class Setup:
    """The input of every system.

    Attributes:
        model: the weights, in a folder that transformers and sentence-transformers load too.
        placement: the device, and the dtype that albeam chooses.
        work: an empty folder for files.
        batch_sizes: batch sizes that a peer tries, in ascending order.
        tried: texts of such a trial.
        peers: the folder with an environment for each peer that needs one.
    """

    model: Model
    placement: Placement
    work: Path
    batch_sizes: tuple[int, ...] = (8,)
    tried: int = 32
    peers: Path = Path(PEERS)


class System:
    """One way from texts to vectors, prepared once for a model and then run many times.

    Attributes:
        name: the name of its rows in the report.
        dtype: the dtype of its linear layers.
        note: a sentence for its rows.
        packages: import names that it needs besides the requirements of albeam.
        starts: each run loads a model, so that the time of `start` is subtracted.
        is_peer: not part of albeam; its failure is noted in the report instead of raised.
    """

    name: str
    dtype: str = "float32"
    note: str = ""
    packages: tuple[str, ...] = ()
    starts: bool = False
    is_peer: bool = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def lacking(self) -> str | None:
        """Return why this machine or environment can't run the system; None if it can."""
        missing = [name for name in self.packages if find_spec(name) is None]
        if missing:
            return f"not installed: {', '.join(missing)}; pip install 'albeam[bench]'"
        return None

    def close(self) -> None:
        """Free what `prepare` took."""

    def prepare(self, texts: Sequence[str]) -> None:
        """Load, and choose settings for these texts; this is not timed."""

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Return vectors, float32 ``[texts, dim]``, in the order of the texts; or None.

        This call is timed, tokenization included.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Run on two texts, which takes the time that every run needs to start."""
        self.run(TINY)

    def tokens(self) -> int | None:
        """Return the tokens of the last run; None if they are those of its texts."""
        return None

    def positions(self) -> int | None:
        """Return the token positions, padding included, of the last run; None if unknown."""
        return None


@contextmanager
def counted_positions(networks: Sequence[Any]) -> Iterator[list[int]]:
    """Record the positions that pass the word embeddings of each network in this context."""
    recorded: list[int] = []

    def record(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        recorded.append(inputs[0].numel())

    tables = [
        next(module for module in network.modules() if isinstance(module, torch.nn.Embedding))
        for network in networks
    ]
    hooks = [table.register_forward_pre_hook(record) for table in tables]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def fastest_batch_size(system: Any, texts: Sequence[str]) -> tuple[float, int]:
    """Try the batch sizes of a system on some texts; return the least seconds and their size.

    Each size runs twice and the faster run counts: the first run compiles or fills caches.
    """
    sample = list(texts[: system.setup.tried])
    found = []
    for size in system.setup.batch_sizes:
        system.batch_size = size
        for _ in range(2):
            started = time.perf_counter()
            system.run(sample)
            found.append((time.perf_counter() - started, size))
    return min(found)
