"""Routes about the service: whether it is well, what it does, and how to use it."""

from typing import Any

from fastapi import APIRouter, Request, Response

from pipeline.serving.http.context import Rights, Shared, check_operator, reply
from pipeline.serving.http.metrics import CONTENT_TYPE
from transforms.runtime.version import installed_version

router = APIRouter(tags=["service"])


@router.get("/health")
async def health() -> Response:
    """Tell that the process is alive."""
    return reply({"status": "ok", "version": installed_version()})


@router.get("/ready")
async def ready(context: Shared) -> Response:
    """Tell that the stores are open and the models loaded."""
    assert context.service.stores
    return reply({"status": "ready"})


@router.get("/metrics")
async def metrics(context: Shared, access: Rights) -> Response:
    """Return the metrics, in the format of Prometheus."""
    check_operator(access)
    context.metrics.look(context.service)
    return Response(context.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Describe the API."""
    return reply(describe(request.app))


def describe(app: Any) -> dict[str, Any]:
    """Return the description of the API, without FastAPI's own form of errors."""
    schema: dict[str, Any] = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema.get("components", {}).get("schemas", {}).pop(name, None)
    return schema
