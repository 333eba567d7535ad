"""Routes over the documents of a store: searches, answers, documents."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from pipeline.serving.core.answers import answer as find_answer
from pipeline.serving.http.bodies import AnswerBody, SearchBody
from pipeline.serving.http.context import PROBLEMS, Rights, Shared, StrictRoute, reply
from pipeline.serving.http.replies import (
    BestAnswerReply,
    DocumentReply,
    SearchReply,
    StoreReply,
)

router = APIRouter(route_class=StrictRoute, responses=PROBLEMS)


@router.post("/search", response_model=SearchReply, tags=["search"])
async def search(body: SearchBody, context: Shared, access: Rights) -> Response:
    """Find the documents nearest to a question, to several questions, or to other documents."""
    found = await context.service.search(body.request(), body.store, access)
    return reply(found.to_dict())


@router.post("/answer", response_model=BestAnswerReply, tags=["search"])
async def answer(body: AnswerBody, context: Shared, access: Rights) -> Response:
    """Find the span of a passage that answers a question best."""
    given = body.request(), body.store, access, body.threshold
    return reply(await find_answer(context.service, *given))


@router.get("/documents/{identity:path}", response_model=DocumentReply, tags=["search"])
async def document(
    identity: str,
    context: Shared,
    access: Rights,
    store: str | None = None,
    snapshot: int | None = None,
) -> Response:
    """Return a document by its id, with all its passages."""
    return reply(await context.service.document(identity, store, access, snapshot))


@router.get("/stores", response_model=list[StoreReply], tags=["search"])
async def stores(context: Shared, access: Rights) -> Response:
    """List the stores."""
    return reply([asdict(each) for each in await context.service.summaries(access)])
