"""A load on a service, from a process of its own: clients that ask one question after another.

``python -m deploy.bench.serve.load`` reads a `Load` as JSON from stdin, and writes the figures as
JSON to stdout. Clients speak HTTP over plain sockets, so that they take little time themselves.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Load:
    """What is asked.

    Attributes:
        port: the port of the service on this machine.
        path: the route.
        bodies: the bodies of the requests; each client begins at another one.
        clients: how many ask at once.
        seconds: how long.
        warm: seconds before, which do not count.
        vanishing: how many further clients go away before the answer comes.
        record: a file that receives each answer to a search in short, or None.
    """

    port: int
    path: str
    bodies: list[Any]
    clients: int = 1
    seconds: float = 10.0
    warm: float = 2.0
    vanishing: int = 0
    record: str | None = None


@dataclass
class Seen:
    """What the clients saw: durations in seconds, and errors with their times."""

    times: list[float] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)
    vanished: int = 0


def run_load(load: Load) -> dict[str, Any]:
    """Ask from another process, and return the figures."""
    command = [sys.executable, "-m", "deploy.bench.serve.load"]
    given = json.dumps(asdict(load))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def start_load(load: Load) -> subprocess.Popen[str]:
    """Start to ask from another process; its stdout has the figures in the end."""
    command = [sys.executable, "-m", "deploy.bench.serve.load"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(load)))
    process.stdin.close()
    process.stdin = None
    return process


def figures(load: Load, seen: Seen) -> dict[str, Any]:
    """Return requests a second and the quantiles of their durations, in milliseconds."""
    found: dict[str, Any] = {
        "clients": load.clients,
        "requests": len(seen.times),
        "requests_per_second": len(seen.times) / load.seconds,
        "errors": seen.errors,
        "vanished": seen.vanished,
    }
    if len(seen.times) > 1:
        cuts = statistics.quantiles(seen.times, n=100, method="inclusive")
        found |= {f"p{share}": 1_000 * cuts[share - 1] for share in (50, 95, 99)}
    return found


async def ask_all(load: Load) -> Seen:
    """Ask until the time is over."""
    seen = Seen()
    begin = time.perf_counter() + load.warm
    answers = None if load.record is None else open(load.record, "w", encoding="utf-8")  # noqa: SIM115
    encoded = [_request(load.path, body) for body in load.bodies]

    async def client(number: int) -> None:
        place = number * len(encoded) // max(load.clients, 1)
        connection = None
        while time.perf_counter() < begin + load.seconds:
            place = (place + 1) % len(encoded)
            started = time.perf_counter()
            try:
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", load.port)
                status, content = await _exchange(*connection, encoded[place])
                if status != 200:
                    raise OSError(f"status {status}: {content[:200]!r}")
            except (OSError, EOFError, ValueError) as error:
                seen.errors.append((time.time(), repr(error)))
                if connection is not None:
                    connection[1].close()
                connection = None
                await asyncio.sleep(0.05)
                continue
            if started >= begin:
                seen.times.append(time.perf_counter() - started)
            if answers is not None:
                answers.write(_short(place, content))
        if connection is not None:
            connection[1].close()

    async def vanish(seed: int) -> None:
        rng = random.Random(seed)
        while time.perf_counter() < begin + load.seconds:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", load.port)
                writer.write(rng.choice(encoded))
                await writer.drain()
                await asyncio.sleep(rng.uniform(0, 0.03))
                writer.close()
                seen.vanished += 1
            except OSError:
                # That of a killed worker: the other clients count these.
                pass
            await asyncio.sleep(0.1)

    await asyncio.gather(*map(client, range(load.clients)), *map(vanish, range(load.vanishing)))
    if answers is not None:
        answers.close()
    return seen


def _request(path: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.split(b"content-length:")[1].split(b"\r\n")[0]
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length))


def _short(place: int, content: bytes) -> str:
    answer = json.loads(content)
    hits = answer["results"][0]["hits"]
    pairs = [(hit["document_id"], hit["score"]) for hit in hits]
    return json.dumps([place, answer["snapshot"], pairs]) + "\n"


def main() -> None:
    """Read the load from stdin, ask, and print the figures."""
    load = Load(**json.loads(sys.stdin.read()))
    print(json.dumps(figures(load, asyncio.run(ask_all(load)))))


if __name__ == "__main__":
    main()
