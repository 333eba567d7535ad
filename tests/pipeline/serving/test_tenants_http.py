"""A key that shows some rows gets nothing of the others by any route, option or error."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.serving.core.keys import Keys, add_key
from pipeline.serving.core.models import load_models
from pipeline.serving.core.service import Service
from pipeline.serving.http.app import make_app
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits, ServeOptions
from tests.pipeline.serving.conftest import SECRET, TRAP
from transforms.models.options import Placement
from transforms.search.store import Store

#: The ids of the documents that the key does not show.
FOREIGN = {f"doc-{number:03d}" for number in range(0, 60, 3)}
_TOOLS = {"accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def clients(
    opened: Store, pair_models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """The client of a service with two stores, and the keys ``mine`` and ``whole``."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    keys = {"mine": add_key(file, "mine", "main", "tenant = 'a'"), "whole": add_key(file, "whole")}
    models = load_models(*pair_models, {}, opened, Placement("cpu", "float32"))
    service = Service({"main": opened, "concealed": opened}, models, Limits())
    app: Any = make_app(service, ServeOptions({"main": opened.url}), Metrics(), Keys(file))
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client, keys


def foreign_in(text: str, sent: str) -> set[str]:
    """Return what an answer tells of foreign rows that the request did not say itself."""
    found = FOREIGN & set(re.findall(r"doc-\d{3}", text))
    found |= set(re.findall(SECRET + r"(?:-\d+)?", text))
    found |= {"concealed"} & set(re.findall(r"\bconcealed\b", text))
    return {each for each in found if each not in sent}


def ask(client: TestClient, key: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {key}"} | _TOOLS
    if body is None:
        return client.get(path, headers=headers | {"cookie": f"albeam_key={key}"})
    return client.post(path, json=body, headers=headers)


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    given = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": given}


ALL: dict[str, Any] = {"question": "river stone", "k": 60}
#: Paths and bodies; those of the first list show foreign rows to a key without limits.
TELLING: list[tuple[str, Any]] = [
    ("/search", ALL),
    ("/search", ALL | {"mode": "dense", "snapshot": 1}),
    ("/search", ALL | {"mode": "dense", "where": "true OR tenant = 'b'"}),
    ("/search", ALL | {"where": "NOT (tenant = ?)", "parameters": ["a"]}),
    ("/search", ALL | {"mode": "dense", "diverse": True, "offset": 1}),
    ("/search", ALL | {"rerank": 60, "reader": True}),
    ("/search", ALL | {"where": TRAP}),
    ("/search", {"like": "doc-001", "k": 60}),
    ("/mcp", tool("search", question="river", k=60)),
    ("/mcp", tool("stores")),
    ("/stores", None),
    ("/v1/models", None),
    ("/?q=river&k=50&mode=dense", None),
    ("/?q=river&k=50&f=tenant%3Db", None),
]
OTHERS: list[tuple[str, Any]] = [
    ("/search", ALL | {"store": "other"}),
    ("/search", ALL | {"snapshot": 9}),
    ("/search", {"like": "doc-003"}),
    ("/search", {"like": "doc-001", "unlike": "doc-003"}),
    ("/answer", ALL),
    ("/answer", ALL | {"where": "tenant = 'b'"}),
    ("/documents/doc-003", None),
    ("/documents/doc-003?snapshot=1", None),
    ("/documents/doc-001?store=other", None),
    ("/v1/embeddings", {"input": "river", "model": "other"}),
    ("/v1/rerank", {"query": "river", "documents": ["a"]}),
    ("/predict/other", {"input": "river"}),
    ("/metrics", None),
    ("/openapi.json", None),
    ("/docs", None),
    ("/mcp", tool("document", document_id="doc-003")),
    ("/mcp", tool("answer", question="river", k=60)),
    ("/mcp", tool("search", question="river", store="other")),
    ("/mcp", tool("search", question="river", where=TRAP)),
    ("/?q=river&store=other", None),
]


@pytest.mark.parametrize(("path", "body"), TELLING + OTHERS)
def test_no_answer_tells_of_foreign_rows(
    clients: tuple[TestClient, dict[str, str]], path: str, body: Any
) -> None:
    client, keys = clients
    sent = path + json.dumps(body)
    found = ask(client, keys["mine"], path, body)
    assert found.status_code < 500
    assert foreign_in(found.text, sent) == set()
    if (path, body) in TELLING:
        assert foreign_in(ask(client, keys["whole"], path, body).text, sent)


def test_the_counts_of_tools_have_a_route(clients: tuple[TestClient, dict[str, str]]) -> None:
    client, keys = clients
    assert ask(client, keys["mine"], "/mcp", tool("stores")).status_code == 200
    text = ask(client, keys["whole"], "/metrics").text
    assert 'albeam_requests_total{method="POST",route="/mcp",status="200"}' in text


def test_the_description_names_the_keys(clients: tuple[TestClient, dict[str, str]]) -> None:
    schema = clients[0].get("/openapi.json").json()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "key"}
    secured = [
        path
        for path, operations in schema["paths"].items()
        if all("security" in each for each in operations.values())
    ]
    assert set(schema["paths"]) - set(secured) == {"/health", "/ready"}


def test_each_route_that_names_the_keys_needs_one(
    clients: tuple[TestClient, dict[str, str]],
) -> None:
    client, _ = clients
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in (name for name, each in operations.items() if "security" in each):
            for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Basic wrong"}):
                found = client.request(method, path, headers=headers, json={"question": "a"})
                assert found.status_code == 401, path
                assert found.headers["content-type"] == "application/problem+json"
