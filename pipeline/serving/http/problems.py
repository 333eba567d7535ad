"""Errors as the problem details of RFC 9457, without any path of the server."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field

from pipeline.command_line.console import json_text
from pipeline.serving.core.admission import RETRY_AFTER
from pipeline.serving.core.errors import (
    Broken,
    NoKey,
    NotAllowed,
    NotFound,
    Overloaded,
    TooLarge,
    TooLate,
)
from transforms.errors import AlbeamError, BadInput, Vacuumed

_LOGGER = logging.getLogger(__name__)
#: The media type of errors.
TYPE = "application/problem+json"
#: The first class that fits an error decides its status.
_STATUSES: tuple[tuple[type[AlbeamError], int], ...] = (
    (NotFound, 404),
    (TooLarge, 413),
    (BadInput, 400),
    (NoKey, 401),
    (NotAllowed, 403),
    (Overloaded, 503),
    (TooLate, 504),
    (Broken, 500),
    (Vacuumed, 503),
)
#: Errors whose text is for the log alone.
_HIDDEN = (Vacuumed,)
_LONGEST = 200


class Problem(BaseModel):
    """What is wrong with a request."""

    type: str = Field("about:blank", description="always about:blank: the status says the kind")
    title: str = Field(description="the name of the status")
    status: int
    detail: str = Field(description="what is wrong, and what to do, in sentences")
    message: str = Field(description="the detail, where clients of OpenAI's API look for it")
    option: str | None = Field(None, description="the option or thing that is wrong")
    value: Any = Field(None, description="its value")
    problem: str | None = Field(None, description="what is wrong with it")
    remedy: str | None = Field(None, description="what to do")
    request_id: str | None = Field(None, description="the request's id in the log of the server")


class Scrubber:
    """Replaces the paths of the server in texts by names that clients know."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """Hold names by path."""
        # A path may begin with another one.
        self._names = sorted(names.items(), key=lambda each: -len(each[0]))

    def __call__(self, text: str) -> str:
        """Return a text without these paths."""
        for path, name in self._names:
            text = text.replace(path, name)
        return text


def problem_of(error: Exception, scrub: Scrubber, request_id: str | None) -> Response:
    """Return the answer to a request that failed; what clients must not see is logged."""
    if isinstance(error, AlbeamError) and is_shown(error):
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        return _of_error(error, status, scrub, request_id)
    status = 503 if isinstance(error, _HIDDEN) else 500
    _LOGGER.error("request %s failed", request_id, exc_info=error)
    detail = "The service could not answer. Its log has the request's id."
    return answer(status, {"detail": detail, "request_id": request_id})


def is_shown(error: AlbeamError) -> bool:
    """Return whether clients may read an error, because they can act on it."""
    kinds = tuple(kind for kind, _ in _STATUSES)
    return isinstance(error, kinds) and not isinstance(error, _HIDDEN)


def _of_error(error: AlbeamError, status: int, scrub: Scrubber, request_id: str | None) -> Response:
    value = error.value
    if isinstance(value, str):
        value = scrub(value)
        value = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    fields = {
        "detail": scrub(str(error)),
        "option": error.option,
        "value": value,
        "problem": scrub(error.problem),
        "remedy": scrub(error.remedy),
        "request_id": request_id,
    }
    return answer(status, fields)


def validation_problem(error: RequestValidationError, request_id: str | None) -> Response:
    """Return the answer to a request whose values have wrong types, or wrong names."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        refused = BadInput("body", None, first["ctx"]["error"], "Send an object in JSON")
        return _of_error(refused, 400, Scrubber({}), request_id)
    place = [part for part in first["loc"] if part not in ("body", "query", "path")]
    # What follows names the types that a value may have, but for places in lists.
    inside = [part for part in place[1:] if isinstance(part, int)]
    option = ".".join(map(str, [*place[:1], *inside])) or "body"
    value = first.get("input")
    value = value if isinstance(value, str | int | float | bool | None) else None
    shown = value[:_LONGEST] if isinstance(value, str) else value
    remedy = "See /docs for the options of this request"
    refused = BadInput(option, shown, str(first["msg"]), remedy)
    return _of_error(refused, 400, Scrubber({}), request_id)


def status_problem(status: int, request_id: str | None, headers: Mapping[str, str]) -> Response:
    """Return the answer to a request for what is not there."""
    details = {
        404: "There is nothing at this address. See /docs for what there is.",
        405: "This address takes other methods. See /docs for them.",
    }
    detail = details.get(status, HTTPStatus(status).description)
    return answer(status, {"detail": detail, "request_id": request_id}, headers)


def answer(
    status: int, fields: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem with some fields."""
    title = HTTPStatus(status).phrase
    about = {"type": "about:blank", "title": title, "status": status}
    content = about | {"detail": fields["detail"], "message": fields["detail"]} | fields
    extra = dict(headers or {})
    if status == 503:
        extra["Retry-After"] = str(RETRY_AFTER)
    if status == 401:
        extra["WWW-Authenticate"] = "Bearer"
    # A value may have half of a surrogate pair, which only ASCII can express.
    return Response(json_text(content, ascii=True), status, extra, TYPE)


def request_id_of(request: Request) -> str | None:
    """Return the id of a request."""
    found = request.scope.get("albeam.request_id")
    return None if found is None else str(found)
