"""The tools over HTTP, at ``/mcp``, for clients that have a key if keys are needed."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from mcp.server.transport_security import TransportSecuritySettings

from pipeline.serving.core.requests import Access
from pipeline.serving.core.service import ANYONE
from pipeline.serving.http.context import Context, find_access, known_access, presented_key
from pipeline.serving.http.problems import problem_of, request_id_of
from pipeline.serving.tools.server import make_tools
from transforms.errors import AlbeamError

PATH = "/mcp"


def add_tools(app: FastAPI, context: Context) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Add the route of the tools, and return what must run while the application lives."""

    def rights(headers: Mapping[str, str] | None) -> Access:
        if context.keys is None:
            return ANYONE
        return known_access(context.keys, presented_key(headers or {}))

    server = make_tools(context.service, context.scrub, rights)
    # The guard checks the host and the body.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=context.service.limits.body,
        transport_security=unchecked,
    )
    for route in inner.routes:
        route.app = _Keyed(route, context)  # type: ignore[attr-defined]
        app.router.routes.append(route)

    @asynccontextmanager
    async def living() -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    return living


class _Keyed:
    """An ASGI application that answers only to clients with a known key."""

    def __init__(self, route: Any, context: Context) -> None:
        self._route, self._app, self._context = route, route.app, context

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # FastAPI notes the routes of its own, which the log and the metrics tell.
        scope["route"] = self._route
        request = Request(scope)
        try:
            find_access(request, presented_key(request.headers))
        except AlbeamError as error:
            response = problem_of(error, self._context.scrub, request_id_of(request))
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)
