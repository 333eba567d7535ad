"""Traces: a span for each request, whose children are its stages."""

import json
import subprocess
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.serving.core.models import Models
from pipeline.serving.core.service import Service
from pipeline.serving.http.app import make_app
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits, ServeOptions
from transforms.search.store import Store

pytest.importorskip("opentelemetry.sdk.trace")
_TRACE, _PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_request_is_a_span_with_its_stages_below_that_of_the_client(opened: Store) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from pipeline.serving.http.traces import TracedStages, Traces

    exporter, metrics = InMemorySpanExporter(), Metrics()
    traces = Traces(SimpleSpanProcessor(exporter))
    service = Service({"main": opened}, Models(), Limits(), TracedStages(metrics, traces))
    app: Any = make_app(service, ServeOptions({"main": opened.url}), metrics, None, traces)
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        headers = {"traceparent": f"00-{_TRACE}-{_PARENT}-01", "x-request-id": "mine"}
        answer = client.post("/search", json={"question": "a secret river"}, headers=headers)
        assert answer.status_code == 200
        found = {span.name: span for span in exporter.get_finished_spans()}
        exporter.clear()
        assert client.post("/search", json={"question": " "}).status_code == 400
        assert client.get("/nothing").status_code == 404
        others = [span for span in exporter.get_finished_spans() if span.parent is None]
    assert set(found) == {"POST /search", "filter", "encode", "search", "fetch"}
    request = found.pop("POST /search")
    assert f"{request.context.trace_id:032x}" == _TRACE
    assert f"{request.parent.span_id:016x}" == _PARENT
    assert dict(request.attributes) == {
        "http.route": "/search",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "albeam.request_id": "mine",
    }
    for span in found.values():
        assert span.parent.span_id == request.context.span_id
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time
    text = json.dumps([span.to_json() for span in (request, *found.values())])
    assert "secret" not in text
    assert [span.attributes["http.response.status_code"] for span in others] == [400, 404]
    assert others[1].name == "GET"
    assert b'albeam_stage_seconds_count{stage="encode"}' in metrics.text()


def test_without_the_package_the_error_names_the_extra(opened: Store) -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from pipeline.cli import main\n"
        f"raise SystemExit(main(['serve', {opened.url!r}, '--otel', '--port', '0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2
    assert "albeam[otel]" in done.stderr
