"""A real server: clients that go away, and a store that changes while many ask."""

import http.client
import json
import shutil
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.ingest.embed import run as embed
from pipeline.serving.core.models import Models
from pipeline.serving.core.service import Service
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits
from tests.pipeline.serving.conftest import write_tenants
from tests.pipeline.serving.live import live
from tests.support.damage import flip_bit
from tests.support.models import make_texts
from tests.support.options import embed_options
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents


def ask(address: str, body: Any, path: str = "/search") -> Any:
    data = json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


class HeldStore(Store):
    """A store whose model waits until it may go on."""

    may_go_on = threading.Event()
    asked = 0

    @property
    def encoder(self) -> Any:
        real = super().encoder

        class Held:
            tokenizer = real.tokenizer

            def encode_texts(self, texts: list[str], prompt: str) -> np.ndarray:
                HeldStore.asked += len(texts)
                assert HeldStore.may_go_on.wait(60)
                return np.asarray(real.encode_texts(texts, prompt))

        return Held()


def metric(address: str, name: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}"))


def wait_until(reached: Any) -> None:
    for _ in range(1_200):
        if reached():
            return
        time.sleep(0.025)
    raise AssertionError("it was not reached")


def test_a_client_that_sends_too_much_before_it_reads_learns_why(service: Service) -> None:
    service.limits = Limits(body=1_000_000)
    with live(service) as address:
        for pieces in (1, 8):
            connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
            body = [b" " * (7_900_000 // pieces)] * pieces
            given = body[0] if pieces == 1 else iter(body)
            connection.request("POST", "/search", given, {"content-type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 413
            assert json.loads(answer.read())["option"] == "body"
            connection.close()


def test_the_work_of_a_client_that_goes_away_is_left_out(tenants: Path) -> None:
    HeldStore.may_go_on.set()
    store = HeldStore.open(str(tenants), device="cpu", dtype="float32")
    metrics = Metrics()
    service = Service({"main": store}, Models(), Limits(queue=8), metrics)
    with live(service, metrics) as address:
        HeldStore.may_go_on.clear()
        before, port = HeldStore.asked, int(address.rsplit(":", 1)[1])
        body = json.dumps({"question": "river"})
        head = (
            "POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        clients = []
        for _ in range(8):
            client = socket.create_connection(("127.0.0.1", port), 30)
            client.sendall((head + body).encode())
            clients.append(client)
            # The first question is in work before the others come, which then wait.
            wait_until(lambda: HeldStore.asked > before)
        wait_until(lambda: service.admission.inside == 8)
        # A client beyond the queue is refused while the others wait.
        refused = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        refused.request("POST", "/search", body, {"content-type": "application/json"})
        answer = refused.getresponse()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        answer.read()
        for client in clients[:7]:
            client.close()
        wait_until(lambda: service.admission.inside == 1)
        HeldStore.may_go_on.set()
        last = http.client.HTTPResponse(clients[7])
        last.begin()
        assert last.status == 200
        last.read()
        clients[7].close()
        assert HeldStore.asked - before == 2
        assert metric(address, "albeam_abandoned_requests_total") == 7
        assert metric(address, "albeam_rejected_requests_total") == 1
        refused.close()


@pytest.mark.slow
def test_no_request_fails_or_mixes_snapshots_while_the_store_changes(
    tenants: Path, tmp_path: Path, albert: Path
) -> None:
    url = str(tmp_path / "store")
    shutil.copytree(tenants, url)
    store = Store.open(url, device="cpu", dtype="float32")
    metrics = Metrics()
    service = Service({"main": store}, Models(), Limits(), metrics)
    found: list[tuple[int, int]] = []
    errors: list[str] = []
    end = threading.Event()
    question = {"question": "river", "k": 200, "mode": "dense"}

    def client(address: str) -> None:
        while not end.is_set():
            try:
                answer = ask(address, question)
                found.append((answer["snapshot"], len(answer["results"][0]["hits"])))
            except OSError as error:
                errors.append(repr(error))

    documents = {1: 60}
    with live(service, metrics, follow=0.05) as address:
        threads = [threading.Thread(target=client, args=(address,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        snapshots = service.store(None).snapshots
        for step in range(6):
            if step % 2:
                remove_documents(url, [f"doc-{step:03d}"])
                count = -1
            else:
                first = 100 + 10 * step
                corpus = write_tenants(tmp_path / f"more-{step}", make_texts(5, seed=step), first)
                embed(embed_options(url, albert, corpus, mode="append"))
                count = 5
            documents[step + 2] = documents[step + 1] + count
            wait_until(lambda number=step + 2: snapshots.current.number == number)
            time.sleep(0.2)
        known = set(Path(url).rglob("segment.json"))
        corpus = write_tenants(tmp_path / "damaged", make_texts(5, seed=99), 900)
        # The manifest is damaged before the service looks again.
        real = snapshots.follow
        snapshots.follow = lambda: False  # type: ignore[method-assign]
        embed(embed_options(url, albert, corpus, mode="append"))
        [new] = set(Path(url).rglob("segment.json")) - known
        flip_bit(new)
        snapshots.follow = real  # type: ignore[method-assign]
        wait_until(lambda: snapshots.refused == 1)
        for _ in range(5):
            ask(address, question)
        end.set()
        for thread in threads:
            thread.join(60)
        assert metric(address, 'albeam_snapshots_refused{store="main"}') == 1
        assert metric(address, 'albeam_snapshot_swaps{store="main"}') == 6
    assert errors == []
    assert len(found) > 20
    assert {number for number, _ in found} == set(documents)
    assert all(documents[number] == hits for number, hits in found)
