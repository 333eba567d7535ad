"""A headless Chromium, controlled by its DevTools protocol over pipes, without a driver."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str | None:
    """Return the path of the browser: $CHROMIUM, or a usual name on PATH; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """A browser with one page; ``messages`` come from its console, its log and its exceptions."""

    def __init__(self, chromium: str) -> None:
        self._numbers = itertools.count(1)
        self._waiting = b""
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        self._profile = tempfile.mkdtemp(prefix="albeam-browser-")
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        command = [
            chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", f"--user-data-dir={self._profile}",
            "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        # The browser reads descriptor 3 and writes 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(30)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, page: Path | str, width: int, scheme: str = "light") -> None:
        """Open a file or an address in a window of ``width`` pixels.

        The colours are ``light`` or ``dark``.
        """
        self.messages.clear()
        self.requests.clear()
        self._events.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        ends = time.monotonic() + 60
        while "Page.loadEventFired" not in self._events:
            assert time.monotonic() < ends, "the page did not load within a minute"
            self._take(self._read())

    def evaluate(self, script: str) -> Any:
        """Return the JSON value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def promised(self, script: str) -> Any:
        """Return the JSON value of what a promise in the page becomes."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Write the whole page as a PNG."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(taken["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a command of the protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._take(answer)

    def _take(self, event: dict[str, Any]) -> None:
        method, given = event.get("method", ""), event.get("params", {})
        self._events.append(method)
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(json.dumps(given))
        if method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._from], [], [], 60)
            assert ready, "the browser sent nothing for a minute"
            got = os.read(self._from, 1 << 20)
            assert got, "the browser has ended"
            self._waiting += got
        message, _, self._waiting = self._waiting.partition(b"\0")
        return dict(json.loads(message))
