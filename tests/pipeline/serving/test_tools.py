"""The tools for language models, asked by the official client over stdio and over HTTP."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from pipeline.serving.core.keys import Keys, add_key
from pipeline.serving.core.models import Models, load_models
from pipeline.serving.core.service import ANYONE, Service
from pipeline.serving.options import Limits
from pipeline.serving.tools.server import make_tools
from tests.pipeline.serving.conftest import ONLY_A, SECRET, TRAP
from tests.pipeline.serving.live import live
from transforms.models.options import Placement
from transforms.search.store import Store

ROOT = Path(__file__).resolve().parents[3]


def call(server: Any, name: str, **arguments: Any) -> Any:
    """Return the structured result of a tool, or the text of its error."""

    async def run() -> Any:
        async with Client(server) as client:
            found = await client.call_tool(name, arguments)
            if found.is_error:
                return found.content[0].text
            return found.structured_content

    return asyncio.run(run())


def names_of(server: Any) -> dict[str, Any]:
    async def run() -> Any:
        async with Client(server) as client:
            return {tool.name: tool for tool in (await client.list_tools()).tools}

    return asyncio.run(run())


def test_tools_have_typed_results(opened: Store, pair_models: tuple[str, str]) -> None:
    models = load_models(pair_models[0], None, {}, opened, Placement("cpu", "float32"))
    service = Service({"main": opened}, models, Limits())
    server = make_tools(service, str, lambda _: ANYONE)
    tools = names_of(server)
    assert set(tools) == {"search", "answer", "document", "stores"}
    for tool in tools.values():
        assert tool.description
        assert tool.output_schema["properties"]
        for each in tool.input_schema["properties"].values():
            assert each["description"]
    found = call(server, "search", question="river stone", k=3, where="year > 2001")
    expected = opened.search(["river stone"], 3, where="year > 2001")[0]
    hits = found["results"][0]["hits"]
    assert [hit["document_id"] for hit in hits] == [hit.document_id for hit in expected]
    best = call(server, "answer", question="river stone")
    assert best["hit"]["text"][best["answer"]["start"] :].startswith(best["answer"]["text"])
    whole = call(server, "document", document_id=hits[0]["document_id"])
    assert whole["passages"][0]["passage"] == 0
    assert call(server, "stores")["stores"][0]["documents"] == 60
    service.close()


def test_errors_can_be_acted_on_and_tell_no_path(opened: Store, service: Service) -> None:
    server = make_tools(service, lambda text: text.replace(opened.url, "main"), lambda _: ANYONE)
    assert set(names_of(server)) == {"search", "document", "stores"}
    for arguments, text in (
        ({"question": "river", "where": "nothing = 1"}, "where"),
        ({"question": " "}, "is blank"),
        ({"question": "river", "k": 10**6}, "1,000 are the most"),
        ({"question": "river", "store": "none"}, "is not served"),
        ({"question": "river", "k": 0}, "k"),
        ({}, "question"),
    ):
        found = call(server, "search", **arguments)
        assert isinstance(found, str)
        assert text in found
        assert opened.url not in found

    async def fail(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    service.search = fail  # type: ignore[method-assign, assignment]
    assert "secret" not in call(server, "search", question="river")


def test_the_rights_of_a_key_hold_for_tools(service: Service) -> None:
    server = make_tools(service, str, lambda _: ONLY_A)
    for where in (None, TRAP, "true OR true"):
        found = call(server, "search", question=SECRET, k=60, mode="dense", where=where)
        assert len(found["results"][0]["hits"]) == 40
    foreign, gone = (call(server, "document", document_id=i) for i in ("doc-003", "doc-999"))
    assert foreign.replace("doc-003", "") == gone.replace("doc-999", "")
    assert call(server, "stores")["stores"][0]["documents"] == 40


def test_tools_over_http_need_the_keys_of_the_service(opened: Store, tmp_path: Path) -> None:
    import httpx2

    file = tmp_path / "keys.json"
    whole, mine = add_key(file, "whole"), add_key(file, "mine", where="tenant = 'a'")
    service = Service({"main": opened}, Models(), Limits())

    async def count(address: str, key: str) -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"{address}/mcp", http_client=http)
            async with Client(transport) as client:
                arguments = {"question": SECRET, "k": 60, "mode": "dense"}
                found = await client.call_tool("search", arguments)
                assert found.structured_content is not None
                return len(found.structured_content["results"][0]["hits"])

    with live(service, keys=Keys(file)) as address:
        assert asyncio.run(count(address, whole)) == 60
        assert asyncio.run(count(address, mine)) == 40
        for key in ("", "wrong"):
            with pytest.raises(BaseException, match=r"."):
                asyncio.run(count(address, key))
        refused = httpx2.post(f"{address}/mcp", json={}, timeout=60)
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        foreign = httpx2.post(f"{address}/mcp", json={}, headers={"host": "evil.example"})
        assert foreign.status_code == 421


@pytest.mark.parametrize("limited", [False, True])
def test_tools_over_stdio(tenants: Path, tmp_path: Path, limited: bool) -> None:
    words = ["-m", "pipeline", "mcp", str(tenants), "--device", "cpu"]
    settings = dict(os.environ)
    if limited:
        file = tmp_path / "keys.json"
        settings["ALBEAM_KEY"] = add_key(file, "mine", where="tenant = 'a'")
        words += ["--keys", str(file)]
    parameters = StdioServerParameters(
        command=sys.executable, args=words, env=settings, cwd=str(ROOT)
    )

    async def run() -> None:
        async with Client(stdio_client(parameters)) as client:
            found = await client.call_tool(
                "search", {"question": "river", "k": 60, "mode": "dense"}
            )
            assert found.structured_content is not None
            hits = found.structured_content["results"][0]["hits"]
            assert len(hits) == (40 if limited else 60)

    asyncio.run(asyncio.wait_for(run(), 120))
