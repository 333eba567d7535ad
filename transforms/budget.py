"""How many tokens a batch may hold: fewer where memory runs out, and in time as many again."""

import logging
import threading

#: Batches that must fit before a larger one is tried; twice as many after each failure.
_PATIENCE = 64

_LOGGER = logging.getLogger(__name__)


class Budget:
    """The most tokens of a batch. Threads may share one.

    Another process may take a device's memory for a while, and one text may need more than all
    others: neither is to leave a worker with small batches for good.

    Attributes:
        tokens: the most, now.
    """

    def __init__(self, most: int) -> None:
        self.tokens = self._most = most
        self._patience, self._fitted = _PATIENCE, 0
        self._lock = threading.Lock()

    def shrink(self, tokens: int) -> None:
        """Note that a batch of so many tokens was too large."""
        with self._lock:
            half = max(tokens // 2, 1)
            if half >= self.tokens:
                return
            self.tokens, self._fitted = half, 0
            self._patience *= 2
        _LOGGER.warning("out of memory: batches of %d tokens from here", half)

    def fit(self) -> None:
        """Note that a batch was done."""
        with self._lock:
            if self.tokens == self._most:
                return
            self._fitted += 1
            if self._fitted == self._patience:
                self.tokens, self._fitted = min(2 * self.tokens, self._most), 0
