"""Metrics for Prometheus. Several processes share them by files in a folder that they all know."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from pipeline.serving.core.observer import Observer
from pipeline.serving.core.service import Service

#: The variable by which prometheus-client knows the folder that processes share.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST
#: How the gauges of processes that live are joined.
Joined = Literal["livesum", "livemax"]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics(Observer):
    """The metrics of a service."""

    def __init__(self) -> None:
        """Start all metrics at nothing."""
        self._registry = registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter(
            "albeam_requests", "Requests that were answered.", labels, registry=registry
        )
        self._seconds = Histogram(
            "albeam_request_seconds",
            "Duration of requests.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "albeam_stage_seconds",
            "Duration of a stage of a search, waiting included.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "albeam_batch_items",
            "Items that went through a stage together.",
            ("stage",),
            buckets=_ITEMS,
            registry=registry,
        )
        self._conditions = Counter(
            "albeam_conditions",
            "Conditions of searches, by whether the rows that meet them were known already.",
            ("kept",),
            registry=registry,
        )
        self._rejected = Counter(
            "albeam_rejected_requests",
            "Requests that were refused because too many were in progress.",
            registry=registry,
        )
        self._gone = Counter(
            "albeam_abandoned_requests", "Requests whose client went away.", registry=registry
        )
        self._inside = self._gauge(
            "albeam_requests_in_progress", "Requests in progress.", "livesum"
        )
        self._queue = self._gauge(
            "albeam_queue_items", "Items that wait for a stage.", "livesum", "store", "stage"
        )
        self._number = self._gauge(
            "albeam_snapshot_number", "The snapshot in use.", "livemax", "store"
        )
        self._age = self._gauge(
            "albeam_snapshot_age_seconds", "Seconds since it was committed.", "livemax", "store"
        )
        self._looked = self._gauge(
            "albeam_snapshot_looked_seconds",
            "Seconds since a newer snapshot was looked for.",
            "livemax",
            "store",
        )
        self._swaps = self._gauge(
            "albeam_snapshot_swaps", "New snapshots that were taken.", "livemax", "store"
        )
        self._refused = self._gauge(
            "albeam_snapshots_refused", "New snapshots that were damaged.", "livemax", "store"
        )

    def _gauge(self, name: str, about: str, joined: Joined, *labels: str) -> Gauge:
        live = {"livesum": "livesum", "livemax": "livemax"}[joined]
        mode: object = live
        return Gauge(name, about, labels, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def stage(self, stage: str, seconds: float) -> None:
        """Take the duration of a stage of one request."""
        self._stages.labels(stage).observe(seconds)

    def batch(self, stage: str, items: int) -> None:
        """Take the number of items that went through a stage together."""
        self._batches.labels(stage).observe(items)

    def condition(self, kept: bool) -> None:
        """Take a condition of a search: whether the rows that meet it were known already."""
        self._conditions.labels("yes" if kept else "no").inc()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Take a request that was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def rejected(self) -> None:
        """Take a request that was refused because too many were in progress."""
        self._rejected.inc()

    def abandoned(self) -> None:
        """Take a request whose client went away."""
        self._gone.inc()

    def look(self, service: Service) -> None:
        """Take the present state of a service."""
        self._inside.set(service.admission.inside)
        for name, store in service.stores.items():
            for stage, items in store.stages.waiting.items():
                self._queue.labels(name, stage).set(items)
            snapshots = store.snapshots
            created = datetime.fromisoformat(snapshots.current.store.snapshot.created)
            self._number.labels(name).set(snapshots.current.number)
            self._age.labels(name).set(max(time.time() - created.timestamp(), 0))
            self._looked.labels(name).set(max(time.time() - snapshots.looked, 0))
            self._swaps.labels(name).set(snapshots.swaps)
            self._refused.labels(name).set(snapshots.refused)

    def text(self) -> bytes:
        """Return all metrics, those of the other processes included."""
        if os.environ.get(SHARED):
            from prometheus_client.multiprocess import MultiProcessCollector

            _forget_dead(Path(os.environ[SHARED]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)


def _forget_dead(folder: Path) -> None:
    """Remove the gauges of processes that have ended."""
    for path in folder.glob("gauge_live*_*.db"):
        number = path.stem.rpartition("_")[2]
        if not Path(f"/proc/{number}").exists() and Path("/proc/self").exists():
            path.unlink(missing_ok=True)
