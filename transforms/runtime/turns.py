"""Settings of a shared thing: threads that need the same one work at once, others take turns."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from transforms.runtime.forks import renew_after_fork


class Turns:
    """The setting of one thing, which no thread changes while another one works with it."""

    def __init__(self) -> None:
        """Start without a setting."""
        self.renew()
        renew_after_fork(self)

    @contextmanager
    def under(self, setting: Hashable, apply: Callable[[], None]) -> Iterator[None]:
        """Run a block under a setting; call ``apply`` first if the last one was another.

        A thread waits while others work under another setting, or came earlier and want one.
        """
        queue = self._queue
        queue.enter(setting, apply)
        try:
            yield
        finally:
            queue.leave()

    def renew(self) -> None:
        """Forget who works and who waits, in a forked process."""
        self._queue = _Queue()


class _Queue:
    """Those who work, under one setting, and those who wait, in the order in which they came."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._setting: Hashable = None
        self._working = 0
        self._waiting: deque[list[Hashable]] = deque()

    def enter(self, setting: Hashable, apply: Callable[[], None]) -> None:
        me = [setting]

        def may_enter() -> bool:
            for other in self._waiting:
                if other is me:
                    break
                if other != me:
                    return False
            return not self._working or self._setting == setting

        with self._changed:
            self._waiting.append(me)
            try:
                self._changed.wait_for(may_enter)
                if self._setting != setting:
                    apply()
                    self._setting = setting
                self._working += 1
            finally:
                # Two that want the same are equal; each removes itself.
                self._waiting = deque(each for each in self._waiting if each is not me)
                self._changed.notify_all()

    def leave(self) -> None:
        with self._changed:
            self._working -= 1
            self._changed.notify_all()
