"""The peer of ``/v1/embeddings``: sentence-transformers behind FastAPI, as people write it.

``python -m deploy.bench.serve.peer MODEL BATCH`` serves on a free port. One request is embedded at
a time, with all cores.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any


def make_app(model: str, batch: int) -> Any:
    """Return the application: texts in, vectors out, in OpenAI's form."""
    from fastapi import FastAPI
    from fastapi.responses import ORJSONResponse
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model, device="cpu")
    app, lock = FastAPI(), threading.Lock()

    @app.post("/v1/embeddings")
    def embeddings(body: dict[str, Any]) -> Any:
        with lock:
            vectors = encoder.encode(body["input"], batch_size=batch, show_progress_bar=False)
        data = [
            {"object": "embedding", "index": place, "embedding": vector}
            for place, vector in enumerate(vectors.tolist())
        ]
        return ORJSONResponse({"object": "list", "data": data, "model": "peer"})

    return app


def main() -> None:
    """Load the model, and serve until SIGTERM."""
    import uvicorn

    app = make_app(sys.argv[1], int(sys.argv[2]))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        threading.Thread(target=_tell, args=(server, port), daemon=True).start()
        server.run([listening])


def _tell(server: Any, port: int) -> None:
    while not server.started:
        threading.Event().wait(0.01)
    print(f"serving at http://127.0.0.1:{port}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
