"""What is done for every request, whatever its route.

The guard reads the whole body, within a limit of bytes and of time, before anything looks at it. It
gives the request an id, ends its work when the client goes away, adds headers, and counts and logs
the request.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from fastapi import Response

from pipeline.serving.core.errors import TooLarge
from pipeline.serving.http.logs import log_request
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.http.problems import Scrubber, answer, problem_of
from pipeline.serving.options import Limits

if TYPE_CHECKING:
    from pipeline.serving.http.traces import Traces

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Headers of every answer.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_ENCODED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_GONE = 499
#: How many times the most bytes of a body are read, and left out, of one that is too large.
_DISCARDED = 8


class Guard:
    """An ASGI application around another one."""

    def __init__(
        self,
        app: App,
        limits: Limits,
        metrics: Metrics,
        scrub: Scrubber,
        hosts: Collection[str] | None,
        traces: "Traces | None" = None,
    ) -> None:
        """Hold the application.

        Args:
            app: the application.
            limits: the most bytes of a body, and the seconds in which it must come.
            metrics: counts the requests.
            scrub: removes the paths of the server from errors.
            hosts: the names by which the service may be asked; None for any. A web site whose name
                leads to this machine could read the stores otherwise.
            traces: makes spans of the requests, or None.
        """
        self._app, self._limits, self._metrics = app, limits, metrics
        self._scrub, self._hosts, self._traces = scrub, hosts, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; events of the process go to the application as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope["albeam.request_id"] = request_id
        with nullcontext() if self._traces is None else self._traces.request(scope):
            await self._handle(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that has its id; count and log it."""
        request_id = scope["albeam.request_id"]
        reply = _Reply(send, request_id)
        started = time.perf_counter()
        try:
            await self._answer(scope, receive, reply)
        except Exception as error:
            # The application has answered already, unless the fault is in the guard.
            if reply.status == 0:
                await reply.whole(problem_of(error, self._scrub, request_id))
        seconds = time.perf_counter() - started
        route = getattr(scope.get("route"), "path", "none")
        status = scope["albeam.status"] = reply.status or _GONE
        self._metrics.request(route, scope["method"], status, seconds)
        fields = {
            "request_id": request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "milliseconds": round(1_000 * seconds, 1),
            "client": scope.get("albeam.client", "-"),
        }
        log_request(fields)

    async def _answer(self, scope: Scope, receive: Receive, reply: "_Reply") -> None:
        request_id = scope["albeam.request_id"]
        if self._hosts is not None and _host(scope) not in self._hosts:
            detail = (
                "The service is not asked by this name. Ask 127.0.0.1, or start it with "
                "--allow-host NAME."
            )
            await reply.whole(answer(421, {"detail": detail, "request_id": request_id}))
            return
        try:
            async with asyncio.timeout(self._limits.seconds):
                body = await self._body(scope, receive)
        except TooLarge as error:
            await self._discard(scope, receive)
            await reply.whole(problem_of(error, self._scrub, request_id))
            return
        except TimeoutError:
            detail = "The request did not come within the time of a request."
            await reply.whole(answer(408, {"detail": detail, "request_id": request_id}))
            return
        if body is None:
            self._metrics.abandoned()
            return
        await self._run(scope, body, receive, reply)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body; None if the client went away."""
        most = self._limits.body
        length = _header(scope, b"content-length")
        if length.isdigit() and int(length[:20]) > most:
            raise _too_large(most)
        pieces, total = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            total += len(pieces[-1])
            if total > most:
                raise _too_large(most)
            if not message.get("more_body"):
                return b"".join(pieces)

    async def _discard(self, scope: Scope, receive: Receive) -> None:
        """Read what comes further, within limits: most clients send all before they read."""
        if _header(scope, b"expect"):
            # This client waits for an answer before it sends.
            return
        left, more = _DISCARDED * self._limits.body, True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.seconds):
                while more and left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    more = bool(message.get("more_body"))

    async def _run(self, scope: Scope, body: bytes, receive: Receive, reply: "_Reply") -> None:
        """Run the application until it has answered or the client has gone."""
        gone = asyncio.Event()
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            if waiting:
                return waiting.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        work = asyncio.ensure_future(self._app(scope, replay, reply.send))

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            if not reply.ended:
                work.cancel()

        watcher = asyncio.ensure_future(watch())
        try:
            await work
        except asyncio.CancelledError:
            if not gone.is_set():
                raise
            self._metrics.abandoned()
        finally:
            watcher.cancel()
            work.cancel()


class _Reply:
    """The answer to one request, with the headers of every answer."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status, self.ended = 0, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            known = {name.lower() for name, _ in headers}
            headers += [each for each in _ENCODED if each[0] not in known]
            headers.append((b"x-request-id", self._request_id.encode()))
            message["headers"] = headers
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self.ended = True
        await self._send(message)

    async def whole(self, response: Response) -> None:
        """Send an answer that the application did not give."""
        start = {"type": "http.response.start", "status": response.status_code}
        await self.send(start | {"headers": response.raw_headers})
        await self.send({"type": "http.response.body", "body": bytes(response.body)})


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""


def _host(scope: Scope) -> str:
    host = _header(scope, b"host").lower()
    return host[1:].split("]")[0] if host.startswith("[") else host.split(":")[0]


def _too_large(most: int) -> TooLarge:
    return TooLarge("body", None, f"has more than {most:,} bytes", "Send less at once")
