"""Routes of the pages: the search, the key, and the description of the API."""

import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, HTTPException, Query, Request, Response

from pipeline.serving.core.answers import best_answer
from pipeline.serving.core.errors import NoKey
from pipeline.serving.core.requests import Access, SearchRequest
from pipeline.serving.core.service import Service
from pipeline.serving.http.context import COOKIE, Context, Shared, find_access
from pipeline.serving.http.description import describe
from pipeline.serving.http.problems import problem_of, request_id_of
from pipeline.serving.page.facets import (
    Facet,
    condition_of,
    facets_of,
    filter_text,
    parse_filter,
)
from pipeline.serving.page.render import FILES, html, linked_file
from pipeline.serving.page.words import Piece, marked
from transforms.catalog.snapshot import snapshot_numbers
from transforms.errors import AlbeamError
from transforms.search.options import MODES

router = APIRouter(include_in_schema=False)
#: Numbers of documents to choose from, and snapshots.
COUNTS, _MOST_SNAPSHOTS = (5, 10, 20, 50), 20
#: How long a browser keeps a key, in seconds.
_DAY = 86_400


@dataclass(frozen=True)
class Asked:
    """What the page was asked, as the parameters of its address."""

    q: str = ""
    store: str = ""
    mode: str = ""
    k: int = 10
    snapshot: str = ""
    filters: tuple[tuple[str, str], ...] = ()

    def link(self, column: str, value: str) -> str:
        """Return the address of the page with a filter more, or without it if it is there."""
        chosen = (column, value)
        others = tuple(each for each in self.filters if each != chosen)
        with_it = others if chosen in self.filters else (*others, chosen)
        return replace(self, filters=with_it).address

    @property
    def filter_texts(self) -> list[str]:
        """The filters as the page's form and address have them."""
        return [filter_text(column, value) for column, value in self.filters]

    @property
    def address(self) -> str:
        """The address of the page."""
        given = {"q": self.q, "store": self.store, "mode": self.mode, "snapshot": self.snapshot}
        pairs = [(name, value) for name, value in given.items() if value]
        pairs += [("k", str(self.k))] if self.k != Asked.k else []
        pairs += [("f", text) for text in self.filter_texts]
        return "/?" + urlencode(pairs, errors="replace")


@dataclass(frozen=True)
class ShownHit:
    """A hit on the page."""

    hit: dict[str, Any]
    pieces: list[Piece]


@dataclass(frozen=True)
class Shown:
    """What the page shows below the question."""

    hits: list[ShownHit] = field(default_factory=list)
    facets: list[Facet] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    mode: str = ""
    snapshot: int | None = None
    error: str = ""


@router.get("/")
async def page(
    request: Request,
    context: Shared,
    q: str = "",
    store: str = "",
    mode: str = "",
    k: str = "",
    snapshot: str = "",
    f: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """Show the page, and the hits of its question."""
    try:
        access = find_access(request, request.cookies.get(COOKIE, ""))
    except NoKey:
        tried = COOKIE in request.cookies
        return html("key.html.j2", 401, tried=tried)
    status, shown = 200, Shown()
    asked = Asked(q, store, mode, _number(k) or Asked.k, snapshot)
    try:
        asked = replace(asked, filters=tuple(map(parse_filter, f or ())))
        if q.strip():
            shown = await _found(context.service, asked, access)
    except AlbeamError as error:
        response = problem_of(error, context.scrub, request_id_of(request))
        status = response.status_code
        shown = Shown(error=json.loads(bytes(response.body))["detail"])
    return html("page.html.j2", status, **await _choices(context, asked, access), shown=shown)


@router.post("/key")
async def key(request: Request) -> Response:
    """Keep a key in the browser, or forget it."""
    try:
        form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=8)
    except ValueError:
        form = {}
    given = form.get("key", [""])[0]
    response = Response(status_code=303, headers={"location": "/"})
    if not given:
        response.delete_cookie(COOKIE)
        return response
    secure = request.url.scheme == "https"
    try:
        find_access(request, given)
    except NoKey:
        return html("key.html.j2", 401, tried=True)
    response.set_cookie(COOKIE, given, _DAY, httponly=True, samesite="strict", secure=secure)
    return response


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Return a file of the page."""
    if name not in FILES:
        raise HTTPException(404)
    headers = {"cache-control": "public, max-age=3600"}
    return Response(linked_file(name), headers=headers, media_type=FILES[name])


@router.get("/docs")
async def docs(request: Request, context: Shared) -> Response:
    """Show the description of the API."""
    return html("docs.html.j2", schema=describe(request.app, context.keys is not None))


async def _found(service: Service, asked: Asked, access: Access) -> Shown:
    served = service.store(asked.store or None, access)
    columns = served.snapshots.current.store.columns
    reads = service.models.reads
    request = SearchRequest(
        questions=(asked.q,),
        k=asked.k,
        mode=asked.mode or None,
        where=condition_of(asked.filters, columns),
        read=reads,
        snapshot=_number(asked.snapshot),
    )
    found = await service.search(request, served.name, access)
    [result] = found.results
    best = None
    if reads:
        best = best_answer(found)["hit"]
    hits = []
    for hit in result.hits:
        span = (hit["answer"]["start"], hit["answer"]["end"]) if hit is best else None
        hits.append(ShownHit(hit, marked(hit["text"], asked.q, span)))
    return Shown(
        hits=hits,
        facets=facets_of(result.hits, asked.filters),
        notes=result.notes,
        milliseconds=found.milliseconds,
        answer=best,
        mode=found.mode,
        snapshot=found.snapshot,
    )


async def _choices(context: Context, asked: Asked, access: Access) -> dict[str, Any]:
    """Return what the form of the page offers."""
    stores = [each.name for each in context.service.visible(access)]
    numbers: list[int] = []
    if stores:
        name = asked.store if asked.store in stores else stores[0]
        served = context.service.stores[name]
        url = served.snapshots.current.store.url
        found = await served.stages.others.run(lambda: snapshot_numbers(url))
        numbers = sorted(found, reverse=True)[:_MOST_SNAPSHOTS]
    return {
        "asked": asked,
        "stores": stores,
        "snapshots": numbers,
        "modes": MODES,
        "counts": sorted({*COUNTS, asked.k}),
        "has_key": context.keys is not None,
    }


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None
