"""The tools of the service, with typed results: search, answer, document, stores.

A client of a key has the same rights as over HTTP.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

from pipeline.command_line.console import json_text
from pipeline.serving.core.answers import answer as find_answer
from pipeline.serving.core.requests import Access, SearchRequest
from pipeline.serving.core.service import Service
from pipeline.serving.http.problems import is_shown
from pipeline.serving.http.replies import (
    BestAnswerReply,
    DocumentReply,
    SearchReply,
    StoreReply,
)
from transforms.errors import AlbeamError
from transforms.runtime.version import installed_version

_ABOUT = (
    "Search documents by meaning and by words. Ask for the stores first: they tell the names of "
    "the metadata columns that a condition may use."
)
#: Returns the rights of a client by the headers of its request, None over stdio.
Rights = Callable[[Mapping[str, str] | None], Access]

Question = Annotated[str, Field(description="a question, or words, in natural language")]
Documents = Annotated[int, Field(description="how many documents to find", ge=1)]
StoreName = Annotated[str | None, Field(description="the name of the store; the first by default")]
Mode = Annotated[
    Literal["hybrid", "dense", "lexical"] | None,
    Field(description="by meaning and words (hybrid), meaning (dense) or words (lexical)"),
]
Where = Annotated[
    str | None,
    Field(
        description="an SQL condition over metadata columns, such as lang = 'en' and year > 2020"
    ),
]


class StoresReply(BaseModel):
    """The stores that the client may use."""

    stores: list[StoreReply]


def make_tools(service: Service, scrub: Callable[[str], str], rights: Rights) -> MCPServer[Any]:
    """Return the server of the tools.

    Args:
        service: answers.
        scrub: removes the paths of the server from errors.
        rights: returns what a client may see; raises AlbeamError for an unknown one.
    """
    server: MCPServer[Any] = MCPServer(
        "albeam", instructions=_ABOUT, version=installed_version(), log_level="WARNING"
    )

    @server.tool()
    async def search(
        context: Context[Any, Any],
        question: Question,
        k: Documents = 5,
        store: StoreName = None,
        mode: Mode = None,
        where: Where = None,
    ) -> SearchReply:
        """Find the documents whose passages are nearest to a question."""
        request = _request(scrub, question, k, mode, where)
        with_rights = _access(scrub, rights, context)
        found = await _anticipated(scrub, service.search(request, store, with_rights))
        return SearchReply.model_validate(_plain(found.to_dict()))

    if service.models.reads:

        @server.tool()
        async def answer(
            context: Context[Any, Any],
            question: Question,
            k: Documents = 5,
            store: StoreName = None,
            where: Where = None,
        ) -> BestAnswerReply:
            """Find the span of a passage that answers a question best."""
            request = _request(scrub, question, k, None, where, read=True)
            with_rights = _access(scrub, rights, context)
            found = await _anticipated(scrub, find_answer(service, request, store, with_rights))
            return BestAnswerReply.model_validate(_plain(found))

    @server.tool()
    async def document(
        context: Context[Any, Any],
        document_id: Annotated[str, Field(description="the document_id of a hit")],
        store: StoreName = None,
    ) -> DocumentReply:
        """Return a document by its id, with its metadata and all its passages."""
        with_rights = _access(scrub, rights, context)
        found = await _anticipated(scrub, service.document(document_id, store, with_rights))
        return DocumentReply.model_validate(_plain(found))

    @server.tool()
    async def stores(context: Context[Any, Any]) -> StoresReply:
        """List the stores, with their metadata columns and numbers of documents."""
        with_rights = _access(scrub, rights, context)
        found = await _anticipated(scrub, service.summaries(with_rights))
        return StoresReply.model_validate({"stores": _plain([asdict(each) for each in found])})

    return server


def _request(
    scrub: Callable[[str], str],
    question: str,
    k: int,
    mode: str | None,
    where: str | None,
    read: bool = False,
) -> SearchRequest:
    try:
        return SearchRequest((question,), k, mode, where or None, read=read)
    except AlbeamError as error:
        raise ToolError(scrub(str(error))) from error


def _access(scrub: Callable[[str], str], rights: Rights, context: Context[Any, Any]) -> Access:
    try:
        return rights(context.headers)
    except AlbeamError as error:
        raise ToolError(scrub(str(error))) from error


async def _anticipated(scrub: Callable[[str], str], answer: Any) -> Any:
    """Return an answer; what the client can act on becomes an error that it may read."""
    try:
        return await answer
    except AlbeamError as error:
        if not is_shown(error):
            raise
        raise ToolError(scrub(str(error))) from error


def _plain(value: Any) -> Any:
    return json.loads(json_text(value))
