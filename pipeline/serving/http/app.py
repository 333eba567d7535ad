"""The application: routes over a service, errors, and the guard around both."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware

from pipeline.serving.core.errors import Overloaded
from pipeline.serving.core.keys import Keys
from pipeline.serving.core.service import Service, model_name
from pipeline.serving.http import model_routes, search_routes, status_routes
from pipeline.serving.http.context import Context
from pipeline.serving.http.guard import App, Guard
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.http.problems import (
    Scrubber,
    problem_of,
    request_id_of,
    status_problem,
    validation_problem,
)
from pipeline.serving.options import ServeOptions
from pipeline.serving.page import routes as page_routes
from pipeline.serving.tools.http_route import add_tools
from transforms.errors import AlbeamError
from transforms.runtime.version import installed_version
from transforms.storage import filesystem

if TYPE_CHECKING:
    from pipeline.serving.http.traces import Traces

_LOGGER = logging.getLogger(__name__)
#: Gives what must run while the application lives.
Living = Callable[[], AbstractAsyncContextManager[None]]
#: What a store is called in errors if it has several names.
_SEVERAL = "the store"
_ABOUT = "Search a store of ALBERT vectors, by words and by meaning."


def make_app(
    service: Service,
    options: ServeOptions,
    metrics: Metrics,
    keys: Keys | None = None,
    traces: "Traces | None" = None,
) -> App:
    """Return the application.

    Args:
        service: answers; it is closed when the application ends.
        options: the options of the service.
        metrics: counts; it is also the observer of the service.
        keys: the known keys; None serves everyone.
        traces: makes spans of the requests, or None.
    """
    scrub = Scrubber(known_names(service, options))
    app = FastAPI(
        title="albeam",
        description=_ABOUT,
        version=installed_version(),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: _living(service, options.follow, tools),
    )
    app.state.context = context = Context(service, keys, metrics, scrub)
    for module in (search_routes, model_routes, status_routes, page_routes):
        app.include_router(module.router)

    tools: Living = add_tools(app, context)

    @app.exception_handler(AlbeamError)
    async def refused(request: Request, error: AlbeamError) -> Response:
        if isinstance(error, Overloaded):
            metrics.rejected()
        return problem_of(error, scrub, request_id_of(request))

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        return validation_problem(error, request_id_of(request))

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def absent(request: Request, error: HTTPException) -> Response:
        return status_problem(error.status_code, request_id_of(request), error.headers or {})

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return problem_of(error, scrub, request_id_of(request))

    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
        )
    return Guard(app, options.limits, metrics, scrub, options.hosts, traces)


@asynccontextmanager
async def _living(service: Service, follow: float | None, tools: Living) -> AsyncIterator[None]:
    """Follow the stores while the application lives, then close the service."""
    task = None
    if follow is not None:
        task = asyncio.create_task(_follow(service, follow))
    try:
        async with tools():
            yield
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        service.close()


async def _follow(service: Service, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "albeam-follow") as pool:
        while True:
            await asyncio.sleep(seconds)
            for store in service.stores.values():
                try:
                    await loop.run_in_executor(pool, store.snapshots.follow)
                except Exception:
                    # The next look may succeed; without this task there would be none.
                    _LOGGER.exception("a store could not be looked at")


def known_names(service: Service, options: ServeOptions) -> dict[str, str]:
    """Return what clients call the files and folders of the server, by their paths."""
    names: dict[str, str] = {}
    for name, store in service.stores.items():
        opened = store.snapshots.current.store
        for url in (opened.url, options.stores.get(name, opened.url)):
            # A client of a store with two names may know one of them alone.
            names[url] = name if names.get(url, name) == name else _SEVERAL
        model = opened.snapshot.identity.name
        names[model] = model_name(model)
    folders = {"reader": options.reader, "reranker": options.reranker, "model": options.model}
    for name, folder in (folders | options.heads).items():
        if folder is not None:
            names |= {folder: name, filesystem.absolute(folder): name}
    # A short name may be a word of a text.
    return {path: name for path, name in names.items() if "/" in path}
