"""The service over HTTP: its forms, its errors, its limits."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.cli import main
from pipeline.serving.core.models import load_models
from pipeline.serving.core.service import Service
from pipeline.serving.http.app import make_app
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits, ServeOptions
from transforms.models.options import Placement
from transforms.search.store import Store

ADDRESS = "http://127.0.0.1"


def client_of(service: Service, **changes: Any) -> TestClient:
    url = service.store(None).snapshots.current.store.url
    options = ServeOptions({"main": url}, limits=service.limits, **changes)
    app: Any = make_app(service, options, Metrics())
    return TestClient(app, ADDRESS, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(opened: Store, pair_models: tuple[str, str]) -> Iterator[TestClient]:
    models = load_models(*pair_models, {}, opened, Placement("cpu", "float32"))
    metrics = Metrics()
    service = Service({"main": opened}, models, Limits(k=50, body=200_000), metrics)
    options = ServeOptions(
        {"main": opened.url}, reader=pair_models[0], reranker=pair_models[1], limits=service.limits
    )
    app: Any = make_app(service, options, metrics)
    with TestClient(app, ADDRESS, raise_server_exceptions=False) as made:
        yield made


def check_problem(response: Any, status: int, option: str | None = None) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    value: dict[str, Any] = response.json()
    assert value["status"] == status
    assert value["title"]
    assert value["detail"]
    assert value["request_id"] == response.headers["x-request-id"]
    if option is not None:
        assert value["option"] == option
        assert value["problem"]
        assert value["remedy"]
    return value


def test_hits_are_those_of_the_command(
    client: TestClient, tenants: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", str(tenants), "river stone", "-k", "5", "--dtype", "float32"]
    assert main([*command, "--where", '["year > ?", [2001]]', "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    body = {"question": "river stone", "k": 5, "where": "year > ?", "parameters": [2001]}
    found = client.post("/search", json=body)
    assert found.status_code == 200
    [result] = found.json()["results"]
    assert result["hits"] == expected
    assert [list(hit) for hit in result["hits"]] == [list(hit) for hit in expected]
    assert found.json()["snapshot"] == 1


def test_several_questions_and_documents_like_others(client: TestClient, opened: Store) -> None:
    found = client.post("/search", json={"question": ["river", "stone"], "mode": "lexical"})
    results = found.json()["results"]
    assert [each["question"] for each in results] == ["river", "stone"]
    expected = opened.search(["river", "stone"], mode="lexical")
    for each, hits in zip(results, expected, strict=True):
        assert [hit["document_id"] for hit in each["hits"]] == [hit.document_id for hit in hits]
    found = client.post("/search", json={"like": "doc-001", "unlike": ["doc-002"], "k": 3})
    assert len(found.json()["results"][0]["hits"]) == 3


def test_an_answer_is_the_best_span(client: TestClient) -> None:
    body = {"question": "river stone", "k": 4}
    found = client.post("/answer", json=body).json()
    # The service has a reranker, which orders as many documents as for albeam ask.
    more = {"reader": True, "rerank": 30}
    hits = client.post("/search", json=body | more).json()["results"][0]["hits"]
    best = max(hits, key=lambda hit: hit["answer"]["score"])
    assert found["hit"]["document_id"] == best["document_id"]
    assert found["answer"] == pytest.approx(best["answer"])
    answer, hit = found["answer"], found["hit"]
    assert hit["text"][answer["start"] : answer["end"]] == answer["text"]
    # The reader of the service was not calibrated.
    unsure = client.post("/answer", json=body | {"threshold": 0.5})
    assert (unsure.status_code, unsure.json()["option"]) == (400, "threshold")
    assert client.post("/answer", json=body | {"threshold": 2}).status_code == 400


def test_a_question_that_the_model_reads_in_part_has_a_note(client: TestClient) -> None:
    body = {"question": ["river " * 200, "river"]}
    long, short = client.post("/search", json=body).json()["results"]
    assert "longer than the 48 tokens" in long["notes"][0]
    assert short["notes"] == []


def test_documents_stores_and_health(client: TestClient, tenants: Path) -> None:
    found = client.get("/documents/doc-001").json()
    assert found["document_id"] == "doc-001"
    assert found["metadata"]["tenant"] == "a"
    assert found["passages"][0]["passage"] == 0
    assert client.get("/documents/doc-001", params={"store": "main", "snapshot": 1}).json() == found
    check_problem(client.get("/documents/gone/or%2Fnot"), 404, "document")
    check_problem(client.get("/documents/doc-001", params={"store": "x"}), 404, "store")
    check_problem(client.get("/documents/doc-001", params={"snapshot": 7}), 400, "snapshot")
    check_problem(client.get("/documents/doc-001", params={"snapshot": "x"}), 400, "snapshot")
    check_problem(client.get("/documents/doc-001", params={"snapshot": "9" * 300}), 400, "snapshot")
    [store] = client.get("/stores").json()
    assert (store["name"], store["documents"], store["dim"]) == ("main", 60, 48)
    assert store["modes"] == ["hybrid", "dense", "lexical"]
    assert store["columns"]["year"] == "int16"
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/ready").json() == {"status": "ready"}


def test_embeddings_have_the_form_of_openai(client: TestClient, opened: Store) -> None:
    texts = ["river stone", "winter"]
    expected = opened.encoder.encode_texts(texts)
    for given in (texts, texts[0]):
        found = client.post("/v1/embeddings", json={"input": given, "model": "main"}).json()
        assert found["object"] == "list"
        assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 0
        vectors = [each["embedding"] for each in found["data"]]
        np.testing.assert_allclose(vectors, expected[: len(vectors)], atol=1e-5)
        assert [each["index"] for each in found["data"]] == list(range(len(vectors)))
    tokens = opened.encoder.tokenizer.encode([texts[0]]).ids.tolist()
    for ids in (tokens, [tokens]):
        body = {"input": ids, "encoding_format": "base64", "dimensions": 48}
        [each] = client.post("/v1/embeddings", json=body).json()["data"]
        raw = np.frombuffer(base64.b64decode(each["embedding"]), "<f4")
        np.testing.assert_allclose(raw, expected[0], atol=1e-5)
    for body, option in (
        ({"input": "a", "dimensions": 8}, "dimensions"),
        ({"input": []}, "input"),
        ({"input": [[10**6]]}, "input"),
        ({"input": ["a", 5]}, "input"),
    ):
        check_problem(client.post("/v1/embeddings", json=body), 400, option)
    check_problem(client.post("/v1/embeddings", json={"input": "a", "model": "x"}), 404, "model")
    assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["main"]


def test_rerankings_have_the_form_of_cohere(client: TestClient) -> None:
    documents = ["a river", {"text": "winter"}, "stone"]
    body = {"query": "river", "documents": documents, "top_n": 2, "return_documents": True}
    found = client.post("/v1/rerank", json=body).json()
    scores = [each["relevance_score"] for each in found["results"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    texts = ["a river", "winter", "stone"]
    assert all(each["document"]["text"] == texts[each["index"]] for each in found["results"])
    check_problem(client.post("/v1/rerank", json=body | {"top_n": 0}), 400, "top_n")
    check_problem(client.post("/v1/rerank", json=body | {"documents": []}), 400, "documents")
    check_problem(client.post("/predict/none", json={"input": "a"}), 404, "head")


@pytest.mark.parametrize(
    ("body", "option"),
    [
        ({}, "question"),
        ({"question": ""}, "question 0"),
        ({"question": 5}, "question"),
        ({"question": "a", "k": "10"}, "k"),
        ({"question": "a", "k": 10**6}, "k"),
        ({"question": "a", "k": 10**30}, "k"),
        ({"question": "a", "kk": 1}, "kk"),
        ({"question": "a", "mode": "magic"}, "mode"),
        ({"question": "a", "where": "nothing = 1"}, "where"),
        ({"question": "a", "where": "year = ?", "parameters": []}, "where"),
        ({"question": "a", "where": "year = ?", "parameters": [{"a": [1]}]}, "where"),
        ({"question": "a", "parameters": [1]}, "parameters"),
        ({"question": "a", "weight": 2}, "weight"),
        ({"question": "a", "rerank": 0}, "rerank"),
        ({"like": ["doc-001"], "reader": True}, "reader"),
        ({"like": ["gone"]}, "like"),
        ([], "body"),
        (None, "body"),
    ],
)
def test_a_wrong_search_is_a_problem_with_its_option(
    client: TestClient, body: Any, option: str
) -> None:
    found = check_problem(client.post("/search", json=body), 400)
    assert found["option"].startswith(option)


HOSTILE = {
    "NaN": b'{"question": "a", "weight": NaN}',
    "infinity": b'{"question": "a", "weight": 1e999}',
    "UTF-8": b'{"question": "\xff"}',
    "surrogate": b'{"question": "\\ud800"}',
    "deep": b'{"question": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep enough": b'{"question": "a", "parameters": '
    + b"[" * 900
    + b"]" * 900
    + b', "where": "?"}',
    "number": b'{"question": "a", "k": 1' + b"0" * 10_000 + b"}",
    "text": b"question=a",
    "nothing": b"",
    "zeros": b"\0" * 1_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_a_problem(client: TestClient, name: str) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/search", "/answer", "/v1/embeddings", "/v1/rerank", "/predict/x"):
        check_problem(client.post(path, content=HOSTILE[name], headers=headers), 400)
    other = client.post("/search", content=HOSTILE[name], headers={"content-type": "text/plain"})
    check_problem(other, 400)
    assert client.post("/search", json={"question": "river"}).status_code == 200


def test_a_large_body_and_a_long_question_are_refused(client: TestClient) -> None:
    check_problem(client.post("/search", json={"question": "x" * 300_000}), 413, "body")
    check_problem(client.post("/search", json={"question": "x" * 10_000}), 413, "question")

    def pieces() -> Iterator[bytes]:
        yield from (b"x" * 1_000 for _ in range(300))

    check_problem(client.post("/search", content=pieces()), 413, "body")


def test_other_addresses_methods_and_hosts_are_problems(client: TestClient) -> None:
    for path in ("/nothing", "/static/none"):
        check_problem(client.get(path), 404)
    allowed = client.get("/search")
    check_problem(allowed, 405)
    assert "POST" in allowed.headers["allow"]
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        check_problem(client.get("/health", headers={"host": host}), 421)
    for host in ("localhost:8080", "[::1]:8080", "LOCALHOST"):
        assert client.get("/health", headers={"host": host}).status_code == 200


def test_every_answer_has_the_headers_of_safety_and_no_origin_is_allowed(
    client: TestClient,
) -> None:
    headers = {"origin": "https://evil.example", "x-request-id": "my-id.1"}
    for path in ("/health", "/nothing"):
        found = client.get(path, headers=headers).headers
        assert found["x-request-id"] == "my-id.1"
        assert found["x-content-type-options"] == "nosniff"
        assert found["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in found["content-security-policy"]
        assert not [name for name in found if name.startswith("access-control")]
    odd = client.get("/health", headers={"x-request-id": "a b\tc"}).headers["x-request-id"]
    assert odd not in ("a b\tc", "")


def test_named_origins_may_ask(service: Service) -> None:
    with client_of(service, origins=("https://good.example",)) as client:
        for origin, allowed in (("https://good.example", True), ("https://evil.example", False)):
            found = client.get("/health", headers={"origin": origin}).headers
            assert (found.get("access-control-allow-origin") == origin) is allowed


def test_no_answer_has_a_path_of_the_server(
    client: TestClient, opened: Store, pair_models: tuple[str, str], tmp_path: Path
) -> None:
    texts = [
        client.get(path).text
        for path in ("/stores", "/v1/models", "/health", "/openapi.json", "/metrics", "/nothing")
    ]
    bad = ({"question": "a", "where": f"x = '{n}'"} for n in range(2))
    texts += [client.post("/search", json=body).text for body in bad]
    folders = (opened.url, *pair_models, opened.snapshot.identity.name, str(Path.cwd()))
    for text in texts:
        for folder in folders:
            assert folder not in text


def test_a_store_without_words_does_not_tell_where_it_is(
    albert: Path, corpus: Path, tmp_path: Path
) -> None:
    from pipeline.ingest.embed import run as embed
    from tests.support.options import embed_options
    from transforms.index.options import LexicalOptions

    url = tmp_path / "store"
    embed(embed_options(url, albert, corpus, lexical=LexicalOptions("none")))
    from pipeline.serving.core.models import Models

    service = Service({"plain": Store.open(str(url))}, Models(), Limits())
    with client_of(service) as client:
        found = client.post("/search", json={"question": "a", "mode": "lexical"})
        problem = check_problem(found, 400, "mode")
        assert str(tmp_path) not in found.text
        assert problem["remedy"] == "Build it: albeam index plain --lexical auto"
        assert client.post("/search", json={"question": "a"}).json()["mode"] == "dense"
        assert client.get("/stores").json()[0]["modes"] == ["dense"]


def test_a_fault_of_the_service_tells_nothing(service: Service) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    service.search = fail  # type: ignore[method-assign, assignment]
    with client_of(service) as client:
        found = client.post("/search", json={"question": "a"})
        problem = check_problem(found, 500)
        assert "secret" not in found.text
        assert set(problem) == {*("type", "title", "status", "detail", "message", "request_id")}


def test_metrics_count_what_was_asked(client: TestClient) -> None:
    def value(line: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(each.rsplit(" ", 1)[1]) for each in lines if each.startswith(line))

    name = 'albeam_requests_total{method="POST",route="/search",status="200"}'
    before = value(name)
    for _ in range(3):
        client.post("/search", json={"question": "river"})
    assert value(name) == before + 3
    assert value('albeam_stage_seconds_count{stage="encode"}') >= 3
    assert value('albeam_batch_items_sum{stage="search"}') >= 3
    assert value('albeam_snapshot_number{store="main"}') == 1
    assert value('albeam_snapshot_age_seconds{store="main"}') > 0
    assert value("albeam_requests_in_progress") == 0
    client.get("/documents/a-secret-id")
    text = client.get("/metrics").text
    assert "a-secret-id" not in text
    assert 'route="/documents/{identity:path}",status="404"' in text


def test_a_number_beyond_the_limit_is_told(client: TestClient) -> None:
    for option in ("k", "rerank"):
        found = client.post("/search", json={"question": "a", option: 10**6})
        assert check_problem(found, 400, option)["value"] == 10**6


def test_conditions_are_counted_by_whether_they_were_evaluated_already(client: TestClient) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        start = "albeam_conditions_total{kept="
        found = (line.removeprefix(start).split() for line in lines if line.startswith(start))
        return {"no": 0.0, "yes": 0.0} | {name[1:-2]: float(value) for name, value in found}

    before = counted()
    for _ in range(3):
        client.post("/search", json={"question": "river", "where": "year > 1987"})
    after = counted()
    assert {name: after[name] - before[name] for name in after} == {"no": 1, "yes": 2}


def test_the_description_of_the_api_is_whole(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/search", "/answer", "/v1/embeddings", "/v1/rerank", "/stores", "/metrics"} <= set(
        schema["paths"]
    )
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation.get("description"), path
            assert "422" not in operation["responses"]
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    [content] = response["content"].items()
                    assert content[0] == "application/problem+json"
                    assert content[1]["schema"]["$ref"].endswith("/Problem")
            assert "security" not in operation
    hit = schema["components"]["schemas"]["HitReply"]["properties"]
    [found] = client.post("/search", json={"question": "a", "k": 1}).json()["results"]
    assert set(found["hits"][0]) | {"answer"} == set(hit)
