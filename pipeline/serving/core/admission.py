"""How many requests are in progress: beyond the most, a request is refused at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.serving.core.errors import Overloaded

#: After how many seconds a refused client may ask again.
RETRY_AFTER = 1


class Admission:
    """The count of requests in progress.

    Attributes:
        inside: how many there are.
        refused: how many were refused.
    """

    def __init__(self, most: int) -> None:
        """Admit at most so many at once."""
        self._most = most
        self.inside = self.refused = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request during a block; raises Overloaded if there are too many."""
        if self.inside >= self._most:
            self.refused += 1
            problem = f"already has {self.inside} requests in progress, the most that it takes"
            raise Overloaded("service", None, problem, f"Ask again after {RETRY_AFTER} second")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
