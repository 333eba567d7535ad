"""One question, one answer: what `albeam ask` does, by the stages of the service."""

from dataclasses import replace
from typing import Any

from pipeline.serving.core.requests import Access, SearchRequest
from pipeline.serving.core.results import SearchResult
from pipeline.serving.core.service import ANYONE, Service
from transforms.search.reading_options import RERANKED


async def answer(
    service: Service,
    request: SearchRequest,
    store: str | None = None,
    access: Access = ANYONE,
    threshold: float = 0.0,
) -> dict[str, Any]:
    """Return the best span of the hits of a question, and its hit; None without any.

    Args:
        service: answers.
        request: the search. If the service has a reranker, and the request does not say how many
            documents to rerank, it is as many as `albeam ask` reranks.
        store: the name of the store.
        access: what the client may see.
        threshold: an answer with a lower probability is not given.

    Raises:
        BadInput: an option can't be used, or the reader was not calibrated for a threshold.
    """
    if request.rerank is None and service.models.ranks:
        depth = min(max(RERANKED, request.k), service.limits.k)
        request = replace(request, rerank=depth)
    found = await service.search(request, store, access)
    return best_answer(found, threshold)


def best_answer(result: SearchResult, threshold: float = 0.0) -> dict[str, Any]:
    """Return the best span of the hits of the first question, and its hit; None without any."""
    from transforms.search import answering, reader

    hits = result.results[0].hits
    spans = [hit["answer"] and reader.Answer(**hit["answer"]) for hit in hits]
    place = reader.best_answer(spans)
    sure = place is not None and answering.is_sure(spans[place], threshold)
    best = hits[place] if sure and place is not None else None
    return {
        "store": result.store,
        "snapshot": result.snapshot,
        "answer": None if best is None else best["answer"],
        "hit": best,
        "milliseconds": result.milliseconds,
    }
