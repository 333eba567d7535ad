"""The server of one process, which ends with success when a signal asks for its end."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from pipeline.command_line.console import tell


class EndingServer(uvicorn.Server):
    """A server that tells when it is ready, and whose end by a signal is no failure."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        """Hold the settings, and the address to tell."""
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell the address."""
        await super().startup(sockets)
        if self.started:
            tell(f"serving at {self._address}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals that ask for the end, and do not send them to this process again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = (signal.SIGINT, signal.SIGTERM)
        former = {number: signal.signal(number, self.handle_exit) for number in wanted}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
