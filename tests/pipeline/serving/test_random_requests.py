"""Random requests: whatever they hold, the answer is one that the API describes."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipeline.serving.core.models import Models
from pipeline.serving.core.service import Service
from pipeline.serving.http.app import make_app
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits, ServeOptions
from transforms.search.store import Store

_KNOWN = ["river", "doc-001", "main", "'", "?", "\0"]
_TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(_KNOWN))
_NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
_PLAIN = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS)
_VALUES = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_WHERES = st.one_of(
    _TEXTS,
    st.sampled_from(
        [
            "year > ?", "tenant = $a", "list_contains(tags, ?)", "true", "year", "1/0 = 1", "NULL",
            "secret = secret", "tags = ?", "CAST(secret AS INT) = 1", "year > 2000 AND ?",
        ]
    ),
)  # fmt: skip
_SEARCH = {
    "question": st.one_of(st.just("river"), _TEXTS, st.lists(_TEXTS, max_size=3)),
    "like": st.one_of(st.just("doc-001"), _TEXTS, st.lists(_TEXTS, max_size=3)),
    "unlike": st.one_of(_TEXTS, st.lists(_TEXTS, max_size=3)),
    "where": _WHERES,
    "parameters": st.one_of(st.lists(_VALUES, max_size=2), st.dictionaries(_TEXTS, _VALUES)),
    "k": st.integers(-2, 2_000),
    "offset": st.integers(-2, 2_000),
    "mode": st.sampled_from(["hybrid", "dense", "lexical", "magic"]),
    "fusion": st.sampled_from(["combination", "rrf", "magic"]),
    "weight": st.floats(-1, 2),
    "diverse": st.booleans(),
    "rerank": st.integers(-1, 5),
    "reader": st.booleans(),
    "snapshot": st.integers(-1, 3),
    "store": st.sampled_from(["main", "other", ""]),
}
_BODIES = {
    "/search": st.fixed_dictionaries({}, optional=_SEARCH),
    "/answer": st.fixed_dictionaries(
        {"question": _TEXTS}, optional={"k": _VALUES, "where": _WHERES}
    ),
    "/v1/embeddings": st.fixed_dictionaries(
        {"input": st.one_of(_VALUES, st.lists(st.integers(-1, 50), max_size=5))},
        optional={
            "model": _TEXTS,
            "dimensions": st.integers(0, 50),
            "encoding_format": st.sampled_from(["float", "base64", "x"]),
            "input_type": st.sampled_from(["query", "passage", "x"]),
        },
    ),
    "/v1/rerank": st.fixed_dictionaries({"query": _TEXTS, "documents": _VALUES}),
    "/predict/none": st.fixed_dictionaries({"input": _VALUES}),
}


@pytest.fixture(scope="module")
def client(opened: Store) -> Iterator[TestClient]:
    service = Service({"main": opened}, Models(), Limits())
    app: Any = make_app(service, ServeOptions({"main": opened.url}), Metrics())
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as made:
        yield made


def check(answer: Any, url: str) -> None:
    assert answer.status_code in (200, 400, 404, 413), answer.text
    assert url not in answer.text
    value = answer.json()
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert value["detail"]


@pytest.mark.parametrize("path", _BODIES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_bodies_are_answered_or_refused(
    client: TestClient, opened: Store, path: str, data: st.DataObject
) -> None:
    body = data.draw(st.one_of(_BODIES[path], _BODIES[path], _VALUES))
    content = json.dumps(body, allow_nan=False)
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    check(answer, opened.url)


@settings(max_examples=40, deadline=None)
@given(query=st.dictionaries(st.sampled_from(["q", "k", "mode", "snapshot", "f", "store"]), _TEXTS))
def test_random_pages_are_pages(client: TestClient, opened: Store, query: dict[str, str]) -> None:
    query = {name: text.encode("utf-8", "replace").decode() for name, text in query.items()}
    answer = client.get("/", params=query)
    assert answer.status_code in (200, 400, 404, 413), answer.text
    assert answer.text.rstrip().endswith("</html>")
    assert opened.url not in answer.text


@settings(max_examples=30, deadline=None)
@given(name=_TEXTS, snapshot=_TEXTS)
def test_random_ids_are_not_there(
    client: TestClient, opened: Store, name: str, snapshot: str
) -> None:
    path = quote(name.encode("utf-8", "replace"), safe="")
    given = {"snapshot": snapshot.encode("utf-8", "replace").decode()}
    check(client.get(f"/documents/x{path}"), opened.url)
    check(client.get(f"/documents/x{path}", params=given), opened.url)
