"""Counters of this process's work, for a progress display in the same process."""

from dataclasses import dataclass

from transforms.runtime.forks import Lock


@dataclass
class Counters:
    """The counters of a process; its worker threads increment them."""

    model_loads: int = 0
    rows: int = 0
    passages: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        self._lock = Lock()

    def add_load(self) -> None:
        """Count a loaded model."""
        with self._lock:
            self.model_loads += 1

    def add_batch(self, passages: int, tokens: int) -> None:
        """Count an embedded batch."""
        with self._lock:
            self.passages += passages
            self.tokens += tokens

    def add_rows(self, rows: int) -> None:
        """Count input rows that are finished: written or rejected."""
        with self._lock:
            self.rows += rows


COUNTERS = Counters()
