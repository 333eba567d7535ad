"""The description of the API, as OpenAPI has it."""

from typing import Any

from fastapi import FastAPI

from pipeline.serving.http.problems import TYPE, Problem

#: What any route may answer, because the guard does.
_ANY = (408, 413, 421, 500)
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, and those of any route, for FastAPI."""
    return {status: {"model": Problem} for status in sorted({*statuses, *_ANY})}


def describe(app: FastAPI, needs_keys: bool) -> dict[str, Any]:
    """Return the description of the API.

    Args:
        app: the application; it keeps the description.
        needs_keys: whether clients need a key.
    """
    if app.openapi_schema is None:
        schema = app.openapi()
        for path in schema["paths"].values():
            for operation in path.values():
                _correct(operation, needs_keys)
        if needs_keys:
            schema["components"]["securitySchemes"] = _KEYS
        # FastAPI's own form of errors, which no route has.
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
    described: dict[str, Any] = app.openapi()
    return described


def _correct(operation: dict[str, Any], needs_keys: bool) -> None:
    """Give errors their media type, and name the keys where one is needed."""
    responses = operation["responses"]
    responses.pop("422", None)
    for status, response in responses.items():
        if int(status) >= 400:
            [content] = response["content"].values()
            response["content"] = {TYPE: content}
    if needs_keys and "401" in responses:
        operation["security"] = [{name: []} for name in _KEYS]
