"""What the routes share: the service, and the rights of the client of a request."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from pipeline.command_line.console import json_text
from pipeline.serving.core.errors import NoKey, NotAllowed
from pipeline.serving.core.keys import Keys
from pipeline.serving.core.requests import Access
from pipeline.serving.core.service import ANYONE, Service
from pipeline.serving.http.description import problems
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.http.problems import Scrubber

#: The cookie that the page keeps a key in.
COOKIE = "albeam_key"
#: The problems of a route that asks the service.
PROBLEMS = problems(400, 401, 404, 503, 504)


@dataclass(frozen=True)
class Context:
    """What the routes share.

    Attributes:
        service: answers.
        keys: the known keys; None serves everyone.
        metrics: counts.
        scrub: removes the paths of the server from texts.
    """

    service: Service
    keys: Keys | None
    metrics: Metrics
    scrub: Scrubber


def context_of(request: Request) -> Context:
    """Return what the routes share."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


# FastAPI calls a plain function in another thread, for each request.
async def _shared(request: Request) -> Context:
    return context_of(request)


async def access_of(request: Request) -> Access:
    """Return the rights of a client by the key in its headers; raises NoKey."""
    return find_access(request, presented_key(request.headers))


def find_access(request: Request, presented: str) -> Access:
    """Return the rights that come with a key; raises NoKey if it is not known."""
    keys = context_of(request).keys
    if keys is None:
        return ANYONE
    access = known_access(keys, presented)
    request.scope["albeam.client"] = access.name
    return access


def known_access(keys: Keys, presented: str) -> Access:
    """Return the rights that come with a key; raises NoKey if it is not known."""
    access = keys.access(presented) if presented else None
    if access is None:
        problem = "is not known" if presented else "is missing"
        remedy = "Send the header Authorization: Bearer KEY"
        raise NoKey("key", None, problem, remedy)
    return access


def check_operator(access: Access) -> None:
    """Raise NotAllowed for a key that sees only a part."""
    if not access.operator:
        problem = "sees a part of the stores, and this tells about all"
        raise NotAllowed("key", access.name, problem, "Use a key without a store and a condition")


def presented_key(headers: Mapping[str, str]) -> str:
    """Return the key in the headers of a request; "" if there is none."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")


def reply(value: Any) -> Response:
    """Return an answer in JSON, with values as `json_text` writes them."""
    try:
        content: bytes | str = orjson.dumps(value, _as_text, orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:
        # An integer of more than 64 bits, or a text that is no Unicode.
        content = json_text(value, ascii=True)
    return Response(content, media_type="application/json")


def _as_text(value: Any) -> Any:
    """Return what JSON lacks; a NaN is null already."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


class StrictRequest(Request):
    """A request whose JSON is checked: UTF-8, no NaN, and no deep nesting."""

    async def json(self) -> Any:
        """Return the body's value; raises JSONDecodeError if it is no such JSON."""
        try:
            return msgspec.json.decode(await self.body())
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            deep = isinstance(error, RecursionError)
            message = "has too many levels" if deep else f"is no JSON: {error}"
            raise JSONDecodeError(message, "", 0) from error


class StrictRoute(APIRoute):
    """A route of strict requests."""

    def get_route_handler(self) -> Any:
        """Return the handler."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            response: Response = await handle(StrictRequest(request.scope, request.receive))
            return response

        return strict


Shared = Annotated[Context, Depends(_shared)]
Rights = Annotated[Access, Depends(access_of)]
