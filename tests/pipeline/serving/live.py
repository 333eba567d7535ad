"""A service in a thread of the test, on a free port."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from pipeline.serving.core.keys import Keys
from pipeline.serving.core.service import Service
from pipeline.serving.http.app import make_app
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import ServeOptions


@contextmanager
def live(
    service: Service, metrics: Metrics | None = None, keys: Keys | None = None, **changes: Any
) -> Iterator[str]:
    """Serve until the block ends, and give the address."""
    url = service.store(None).snapshots.current.store.url
    options = ServeOptions({"main": url}, limits=service.limits, **changes)
    app: Any = make_app(service, options, metrics or Metrics(), keys)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
