"""``albeam serve``: listen, open the stores, and serve until the end is asked for."""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command_line.console import note, tell
from pipeline.serving.libraries import check_libraries
from pipeline.serving.options import ServeOptions
from transforms.errors import AlbeamError, BadInput

if TYPE_CHECKING:
    import uvicorn

_LOGGER = logging.getLogger(__name__)
#: Seconds beyond the limit of a request, in which requests in progress end.
_GRACE = 5
#: Connections that wait to be accepted.
_BACKLOG = 512
#: Seconds in which a process must tell that it lives, and those between two that fail.
_LONGEST_START, _PAUSE = 60, 2.0
#: The file that tells that a process could be started.
_OPENED = "opened"


def run(options: ServeOptions) -> None:
    """Serve until SIGINT or SIGTERM; requests in progress end first.

    Raises:
        BadInput: an option, a store or a model can't be used, or the port is taken.
        Damaged: a store can't be read.
        ImportError: a library of the extra is missing.
    """
    check_libraries("fastapi", "mcp", "orjson", "prometheus_client", "uvicorn")
    if options.traces:
        exporter = "opentelemetry.exporter.otlp.proto.http"
        check_libraries("opentelemetry.sdk.trace", exporter, extra="otel")
    with _listening(options) as listening:
        address = _address(listening)
        if options.is_public and options.keys is None:
            note(
                f"anyone who reaches {address} may read the stores, because there is no --keys FILE"
            )
        if options.workers > 1:
            _serve_many(options, listening, address)
        else:
            _serve(options, listening, address)


def _serve(options: ServeOptions, listening: socket.socket, address: str) -> None:
    from pipeline.serving.http.server import EndingServer

    app = open_app(options)
    EndingServer(_config(app, options), address).run([listening])


def _serve_many(options: ServeOptions, listening: socket.socket, address: str) -> None:
    """Serve in several processes, each of which opens the stores; one that dies is replaced."""
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    from pipeline.serving.http.logs import configure
    from pipeline.serving.http.metrics import SHARED
    from transforms.search.store import Store

    for url in options.stores.values():
        Store.open(url, None, options.model)
    configure(options.log)
    with tempfile.TemporaryDirectory(prefix="albeam-metrics-") as folder:
        os.environ[SHARED] = folder
        config = _config(partial(_open_in_worker, options, Path(folder)), options)
        config.factory, config.workers = True, options.workers
        # A process that is slow to start on a busy machine is not dead.
        config.timeout_worker_healthcheck = _LONGEST_START
        tell(f"serving at {address} in {options.workers} processes")
        processes = Multiprocess(config, [listening])
        try:
            processes.run()
        finally:
            del os.environ[SHARED]
        if any(each.exitcode == STARTUP_FAILURE for each in processes.processes):
            problem = "could not be started: the log says why"
            raise BadInput("workers", options.workers, problem, "Repair it, and start again")


def _open_in_worker(options: ServeOptions, folder: Path) -> Any:
    """Return the application of a process; if it is the first one and fails, the service ends."""
    from uvicorn.config import STARTUP_FAILURE

    opened = folder / _OPENED
    try:
        app = open_app(options)
    except (AlbeamError, OSError) as error:
        _LOGGER.error("a process could not be started: %s", error)
        if not opened.exists():
            raise SystemExit(STARTUP_FAILURE) from error
        # The next one is started at once.
        time.sleep(_PAUSE)
        raise SystemExit(1) from error
    opened.touch()
    _LOGGER.info("process %d is ready", os.getpid())
    return app


def open_app(options: ServeOptions) -> Any:
    """Open the stores, load the models, and return the application.

    Raises:
        AlbeamError: something of it can't be used.
    """
    from pipeline.serving.core.keys import Keys, check_keys
    from pipeline.serving.core.observer import Observer
    from pipeline.serving.core.service import Service
    from pipeline.serving.http.app import make_app
    from pipeline.serving.http.logs import configure
    from pipeline.serving.http.metrics import Metrics

    configure(options.log)
    metrics = Metrics()
    keys = None if options.keys is None else Keys(options.keys)
    observer: Observer = metrics
    traces = None
    if options.traces:
        from pipeline.serving.http.traces import TracedStages, exported_traces

        traces = exported_traces()
        observer = TracedStages(metrics, traces)
    service = Service.open(options, observer)
    if keys is not None:
        opened = {name: each.snapshots.current.store for name, each in service.stores.items()}
        for problem in check_keys(keys, opened):
            _LOGGER.warning(problem)
    return make_app(service, options, metrics, keys, traces)


def _config(app: Any, options: ServeOptions) -> "uvicorn.Config":
    import uvicorn

    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=int(options.limits.seconds) + _GRACE,
        h11_max_incomplete_event_size=64 * 1_024,
    )


@contextmanager
def _listening(options: ServeOptions) -> Iterator[socket.socket]:
    """Listen; raises BadInput if the address or the port can't be used."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((options.host, options.port))
            opened.listen(_BACKLOG)
        except socket.gaierror as error:
            problem = f"is no address of this machine ({error.strerror})"
            raise BadInput("host", options.host, problem, "Give 127.0.0.1, for example") from error
        except OSError as error:
            problem = f"can't be listened on at {options.host}: {error.strerror}"
            remedy = "Give another --port, or 0 for a free one"
            raise BadInput("port", options.port, problem, remedy) from error
        opened.set_inheritable(True)
        yield opened


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
