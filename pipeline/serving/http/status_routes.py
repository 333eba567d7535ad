"""Routes about the service: whether it is well, what it does, and how to use it."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from pipeline.serving.http.context import Rights, Shared, check_operator, context_of, reply
from pipeline.serving.http.description import describe, problems
from pipeline.serving.http.metrics import CONTENT_TYPE
from pipeline.serving.http.replies import HealthReply, ReadyReply
from transforms.runtime.version import installed_version

router = APIRouter(tags=["service"], responses=problems())


@router.get("/health", response_model=HealthReply)
async def health() -> Response:
    """Tell that the process is alive."""
    return reply({"status": "ok", "version": installed_version()})


@router.get("/ready", response_model=ReadyReply)
async def ready(context: Shared) -> Response:
    """Tell that the stores are open and the models loaded."""
    assert context.service.stores
    return reply({"status": "ready"})


@router.get("/metrics", response_class=PlainTextResponse, responses=problems(401, 403))
async def metrics(context: Shared, access: Rights) -> Response:
    """Return the metrics, in the format of Prometheus."""
    check_operator(access)
    context.metrics.look(context.service)
    return Response(context.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Describe the API."""
    return reply(describe(request.app, context_of(request).keys is not None))
