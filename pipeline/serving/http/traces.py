"""Traces of requests for OpenTelemetry: a span for each request, and one for each of its stages.

No question, no key and no text of a store is in a span.
"""

import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipeline.serving.core.observer import Observer
from transforms.runtime.version import installed_version

_NAME = "albeam.serve"
#: What the client sent, by which its span is the parent of the request's.
_CARRIED = ("traceparent", "tracestate")


class Traces:
    """What makes spans of a service."""

    def __init__(self, processor: SpanProcessor) -> None:
        """Start without spans; ``processor`` receives those that have ended."""
        about = {"service.name": "albeam", "service.version": installed_version()}
        # What OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say goes before.
        self._provider = TracerProvider(resource=Resource(about).merge(Resource.create()))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(_NAME, installed_version())
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, scope: MutableMapping[str, Any]) -> Iterator[None]:
        """Make the span of a request during a block; stages within it have its span as parent."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name.decode("latin-1") in _CARRIED
        }
        context = self._propagator.extract(carrier)
        method = scope["method"]
        with self._tracer.start_as_current_span(method, context, SpanKind.SERVER) as span:
            yield
            route = getattr(scope.get("route"), "path", None)
            status = scope["albeam.status"]
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            span.set_attributes(
                {
                    "http.request.method": method,
                    "http.response.status_code": status,
                    "albeam.request_id": scope["albeam.request_id"],
                }
            )
            if status >= 500:
                span.set_status(StatusCode.ERROR)

    def stage(self, stage: str, seconds: float) -> None:
        """Make the span of a stage that has just ended."""
        now = time.time_ns()
        span = self._tracer.start_span(stage, start_time=now - int(1e9 * seconds))
        span.end(now)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


class TracedStages(Observer):
    """An observer that also makes spans of stages."""

    def __init__(self, other: Observer, traces: Traces) -> None:
        """Hold the observer that receives everything, and what makes spans."""
        self._other, self._traces = other, traces

    def stage(self, stage: str, seconds: float) -> None:
        """Take the duration of a stage of one request."""
        self._other.stage(stage, seconds)
        self._traces.stage(stage, seconds)

    def batch(self, stage: str, items: int) -> None:
        """Take the number of items that went through a stage together."""
        self._other.batch(stage, items)

    def condition(self, kept: bool) -> None:
        """Take a condition of a search: whether the rows that meet it were known already."""
        self._other.condition(kept)


def exported_traces() -> Traces:
    """Return traces that go by OTLP to where the variables ``OTEL_EXPORTER_OTLP_*`` say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Traces(BatchSpanProcessor(OTLPSpanExporter()))
