"""Routes of the models: embeddings in OpenAI's form, rerankings in Cohere's, and heads."""

import base64
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter, Response

from pipeline.serving.core.errors import NotFound
from pipeline.serving.core.requests import Access, check_most
from pipeline.serving.core.served_store import ServedStore
from pipeline.serving.core.service import model_name
from pipeline.serving.core.token_ids import Input
from pipeline.serving.http.bodies import EmbeddingsBody, PredictBody, RerankBody
from pipeline.serving.http.context import PROBLEMS, Context, Rights, Shared, StrictRoute, reply
from pipeline.serving.http.replies import (
    EmbeddingsReply,
    ModelsReply,
    PredictReply,
    RerankReply,
)
from transforms.errors import BadInput

router = APIRouter(route_class=StrictRoute, responses=PROBLEMS, tags=["models"])


@router.post("/v1/embeddings", response_model=EmbeddingsReply)
async def embeddings(body: EmbeddingsBody, context: Shared, access: Rights) -> Response:
    """Embed texts, in OpenAI's form."""
    served = _served(context, body.model, access)
    identity = served.snapshots.current.store.snapshot.identity
    if body.dimensions not in (None, identity.dim):
        problem = f"must be {identity.dim}, the width of the model's vectors"
        raise BadInput("dimensions", body.dimensions, problem, "Leave it out")
    inputs = _inputs(body.input)
    is_query = body.input_type == "query"
    vectors, tokens = await context.service.embed(inputs, is_query, served.name, access)
    as_text = body.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": place, "embedding": _written(vector, as_text)}
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    name = model_name(identity.name)
    return reply({"object": "list", "data": data, "model": name, "usage": usage})


@router.get("/v1/models", response_model=ModelsReply)
async def models(context: Shared, access: Rights) -> Response:
    """List the stores, in OpenAI's form: each name stands for the model of the store."""
    data = [
        {"id": each.name, "object": "model", "created": 0, "owned_by": "albeam"}
        for each in context.service.visible(access)
    ]
    return reply({"object": "list", "data": data})


@router.post("/v1/rerank", response_model=RerankReply)
async def rerank(body: RerankBody, context: Shared, access: Rights) -> Response:
    """Rank documents for a query by the reranker, in Cohere's and Jina's form."""
    texts = [each if isinstance(each, str) else each.get("text", "") for each in body.documents]
    check_most("documents", len(texts), context.service.limits.k, "documents")
    scores = np.array(await context.service.rerank(body.query, texts, access))
    order = np.argsort(-scores, kind="stable")[: body.top_n]
    # Cohere's scores lie between 0 and 1.
    shares = 0.5 * (1 + np.tanh(scores / 2))
    results: list[dict[str, Any]] = [
        {"index": int(place), "relevance_score": float(shares[place])} for place in order
    ]
    if body.return_documents:
        for row in results:
            row["document"] = {"text": texts[row["index"]]}
    return reply({"id": "rerank", "model": body.model or "reranker", "results": results})


@router.post("/predict/{head}", response_model=PredictReply)
async def predict(head: str, body: PredictBody, context: Shared, access: Rights) -> Response:
    """Classify texts, or find their entities, with a head."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    found = await context.service.predict(head, texts, access)
    return reply({"head": head, "predictions": [asdict(each) for each in found]})


def _served(context: Context, model: str | None, access: Access) -> ServedStore:
    """Return the store whose model is meant: by the store's name, or by the model's."""
    for each in context.service.visible(access):
        name = model_name(each.snapshots.current.store.snapshot.identity.name)
        if model in (None, each.name, name):
            return each
    known = ", ".join(each.name for each in context.service.visible(access)) or "none"
    raise NotFound("model", model, f"is not served, only {known}", "Give a name of /v1/models")


def _inputs(given: Any) -> list[Input]:
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        return [given]
    return list(given)


def _written(vector: Any, as_text: bool) -> Any:
    if as_text:
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    return vector.tolist()
