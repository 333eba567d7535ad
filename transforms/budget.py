"""How many tokens a batch may hold: fewer where memory runs out, and in time as many again."""

import logging
import threading

#: Batches that must fit before a larger one is tried: at first, and at most.
_PATIENCE = 64, 4_096

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
        self._patience, self._fitted = _PATIENCE[0], 0
        self._grew = False
        self._lock = threading.Lock()

    def shrink(self, tokens: int) -> None:
        """Note that a batch of so many tokens was too large."""
        with self._lock:
            half = max(tokens // 2, 1)
            if half >= self.tokens:
                return
            self.tokens, self._fitted = half, 0
            if self._grew:
                # It had been tried too soon.
                self._patience, self._grew = min(2 * self._patience, _PATIENCE[1]), False
        _LOGGER.warning("out of memory: batches of %d tokens from here", half)

    def fit(self, tokens: int) -> None:
        """Note that a batch of so many tokens was done."""
        with self._lock:
            if self.tokens == self._most or 2 * tokens < self.tokens:
                return
            self._fitted += 1
            if self._fitted >= self._patience:
                self.tokens, self._fitted = min(2 * self.tokens, self._most), 0
                self._grew = True
