"""``albeam serve`` as a process: what it tells, how it ends, who may ask it."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from tests.pipeline.serving.conftest import SECRET
from transforms.transactions.removal import remove_documents

ROOT = Path(__file__).resolve().parents[3]
Output = pytest.CaptureFixture[str]


class Served:
    """A process of ``albeam serve`` that is ready."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "pipeline", "serve", *words, "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.lines: list[str] = []
        self.address = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"serving at (http://\S+)", line):
                self.address = found[1]
                break
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask for the end, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def ask(self, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Return the status and the JSON value of an answer."""
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@contextmanager
def serving(*words: str) -> Iterator[Served]:
    served = Served(*words)
    try:
        assert served.address, "".join(served.lines)
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()


@pytest.fixture(scope="module")
def served(tenants: Path) -> Iterator[Served]:
    with serving(str(tenants), f"again={tenants}", "--log", "json", "--device", "cpu") as made:
        yield made


def test_a_process_answers_and_logs_each_request_as_json(served: Served) -> None:
    status, found = served.ask("/search", {"question": f"river {SECRET}", "k": 3})
    assert (status, found["store"], len(found["results"][0]["hits"])) == (200, "store", 3)
    assert served.ask("/search", {"question": "river", "store": "again"})[1]["store"] == "again"
    status, problem = served.ask("/search", {"question": "river", "k": 0})
    assert (status, problem["option"]) == (400, "k")
    for _ in range(100):
        logged = [json.loads(line) for line in served.lines if line.startswith("{")]
        named = [each for each in logged if each.get("request_id") == problem["request_id"]]
        if named:
            break
        time.sleep(0.05)
    assert (named[0]["route"], named[0]["status"], named[0]["method"]) == ("/search", 400, "POST")
    assert named[0]["milliseconds"] > 0
    assert SECRET not in "".join(served.lines)


def test_the_client_of_openai_works_unchanged(served: Served) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{served.address}/v1", api_key="none", max_retries=0)
    found = client.embeddings.create(model="store", input=["river", "stone"])
    assert [each.index for each in found.data] == [0, 1]
    plain = client.embeddings.create(model="store", input="river", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(found.data[0].embedding, abs=1e-5)
    assert [each.id for each in client.models.list().data] == ["store", "again"]
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="store", input="river", dimensions=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_waits_for_requests_in_progress(tenants: Path, number: int) -> None:
    with serving(str(tenants), "--device", "cpu") as made:
        host, port = made.address.removeprefix("http://").split(":")
        body = json.dumps({"question": "river"}).encode()
        head = (
            f"POST /search HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), 30) as slow:
            slow.sendall(head.encode() + body[:5])
            time.sleep(0.3)
            made.process.send_signal(number)
            time.sleep(0.3)
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((host, int(port)), 30)
            slow.sendall(body[5:])
            answer = http.client.HTTPResponse(slow)
            answer.begin()
            assert answer.status == 200
            assert json.loads(answer.read())["results"][0]["hits"]
        assert made.process.wait(60) == 0


def test_workers_share_the_port_and_the_metrics_and_a_dead_one_is_replaced(
    tenants: Path, tmp_path: Path
) -> None:
    url = str(tmp_path / "store")
    shutil.copytree(tenants, url)
    with serving(url, "--workers", "2", "--device", "cpu", "--follow", "0.2s") as made:

        def ready() -> int:
            try:
                return made.ask("/ready")[0]
            except OSError:
                return 0

        for _ in range(600):
            if ready() == 200:
                break
            time.sleep(0.1)
        for _ in range(10):
            assert made.ask("/search", {"question": "river"})[0] == 200

        def children() -> list[int]:
            folder = Path(f"/proc/{made.process.pid}/task/{made.process.pid}/children")
            numbers = [int(text) for text in folder.read_text().split()]
            commands = {n: Path(f"/proc/{n}/cmdline").read_bytes() for n in numbers}
            return [n for n in numbers if b"spawn_main" in commands[n]]

        def counted() -> float:
            with urllib.request.urlopen(f"{made.address}/metrics", timeout=60) as answer:
                lines = answer.read().decode().splitlines()
            name = 'albeam_requests_total{method="POST",route="/search",status="200"}'
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

        assert counted() == 10
        before = children()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        for _ in range(600):
            now = children()
            if before[0] not in now and len(now) == 2:
                break
            time.sleep(0.1)
        assert before[0] not in now
        assert before[1] in now
        assert len(now) == 2
        remove_documents(url, ["doc-001"])
        # Only the new process can answer while the other one is stopped: it follows the store.
        os.kill(before[1], signal.SIGSTOP)
        for _ in range(300):
            found = made.ask("/search", {"question": "river", "k": 80})[1]
            if found["snapshot"] == 2:
                break
            time.sleep(0.1)
        os.kill(before[1], signal.SIGCONT)
        assert (found["snapshot"], len(found["results"][0]["hits"])) == (2, 59)
        assert made.end() in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def test_processes_that_cannot_be_started_end_the_service(
    tenants: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", str(tenants), "--workers", "2", "--port", "0"]
    assert main([*words, "--reader", str(tmp_path)]) == 2
    told = capfd.readouterr().err
    assert "a process could not be started: reader" in told
    assert "--workers 2: could not be started: the log says why" in told


def test_models_beside_the_encoder_are_served(tenants: Path, pair_models: tuple[str, str]) -> None:
    words = ("--reader", pair_models[0], "--reranker", pair_models[1], "--timeout", "1m")
    with serving(str(tenants), *words, "--max-k", "20", "--follow", "1s") as made:
        status, found = made.ask("/answer", {"question": "river", "k": 4, "rerank": 8})
        assert (status, found["snapshot"]) == (200, 1)
        assert found["answer"]["text"] in found["hit"]["text"]
        body = {"query": "river", "documents": ["a river", "stone"]}
        assert len(made.ask("/v1/rerank", body)[1]["results"]) == 2
        assert made.ask("/search", {"question": "river", "k": 21})[0] == 400
        assert made.end() == 0


WITHOUT = """
import sys
for name in ("torch", "transformers", "apache_beam", "sentencepiece"):
    sys.modules[name] = None
from starlette.testclient import TestClient
from pipeline.serving.options import ServeOptions
from pipeline.serving.serve import open_app
with TestClient(open_app(ServeOptions({"main": sys.argv[1]})), "http://127.0.0.1") as client:
    asked = [
        client.post("/search", json={"question": ["river", "stone"] * 20}),
        client.post("/search", json={"like": "doc-001"}),
        client.post("/v1/embeddings", json={"input": ["river " * 40] * 30}),
        client.get("/documents/doc-001"),
        client.get("/?q=river"),
    ]
print([answer.status_code for answer in asked])
"""


def test_the_service_needs_neither_torch_nor_beam(tenants: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tenants)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == str([200] * 5), done.stderr


def make_key(capsys: Output, file: Path, name: str, *words: str) -> str:
    capsys.readouterr()
    assert main(["serve", "--keys", str(file), "--add-key", name, *words]) == 0
    [key] = capsys.readouterr().out.split()
    return key


def test_keys_open_what_they_are_made_for(tenants: Path, tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "keys.json"
    whole = make_key(capsys, file, "operator")
    mine = make_key(capsys, file, "tenant", "--key-where", "tenant = 'a'")
    other = make_key(capsys, file, "again", "--key-store", "again")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for key in (whole, mine, other):
        assert key not in file.read_text()
    make_key(capsys, file, "lost", "--key-store", "elsewhere")
    make_key(capsys, file, "odd", "--key-where", "owner = 'a'")
    words = (str(tenants), f"again={tenants}", "--keys", str(file), "--device", "cpu")
    with serving(*words) as made:
        told = "".join(made.lines)
        assert "key lost: no store of the name elsewhere is served" in told
        assert "key odd: shows nothing of again" in told
        question = {"question": SECRET, "k": 60, "mode": "dense"}

        def count(key: str, **more: Any) -> Any:
            status, found = made.ask("/search", question | more, key)
            return len(found["results"][0]["hits"]) if status == 200 else status

        assert (count(""), count("wrong"), count(whole + "x")) == (401, 401, 401)
        assert (count(whole), count(mine), count(other)) == (60, 40, 60)
        assert count(mine, where="true OR true") == 40
        assert (count(other, store="store"), count(other, store="again")) == (404, 60)
        assert made.ask("/documents/doc-003", key=whole)[0] == 200
        assert made.ask("/documents/doc-003", key=mine)[0] == 404
        assert [made.ask("/health")[0], made.ask("/ready")[0], made.ask("/stores")[0]] == [
            *(200, 200, 401)
        ]
        assert made.ask("/metrics", key=mine)[0] == 403
        assert [each["name"] for each in made.ask("/stores", key=other)[1]] == ["again"]
        assert made.ask("/stores", key=mine)[1][0]["documents"] == 40
        # A key that is removed is refused at once.
        assert main(["serve", "--keys", str(file), "--remove-key", "tenant"]) == 0
        assert (count(mine), count(whole)) == (401, 60)
        file.write_text("{")
        assert count(whole) == 401
        assert made.end() == 0
        text = "".join(made.lines)
        assert "client=tenant" in text
        assert mine not in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "store: is missing"),
        (["nowhere", "--port", "0"], "store"),
        (["{store}", "{store}"], "as another store has"),
        (["{store}", "--port", "70000"], "--port 70000: is no port"),
        (["{store}", "--port", "{taken}"], "can't be listened on"),
        (["{store}", "--host", "not.a.name.invalid"], "is no address of this machine"),
        (["{store}", "--workers", "0"], "workers"),
        (["{store}", "--cors", "*"], "is no origin"),
        (["{store}", "--head", "head"], "has no name"),
        (["{store}", "--head", "x={store}", "--port", "0"], "head"),
        (["{store}", "--reader", "nowhere", "--port", "0"], "--reader nowhere"),
        (["{store}", "--keys", "nowhere.json", "--port", "0"], "--keys nowhere.json"),
        (["{store}", "--key-store", "x"], "needs --add-key"),
        (["--add-key", "x"], "is needed to change the keys"),
        (["--add-key", " ", "--keys", "k.json"], "is blank"),
        (["--add-key", "x", "--keys", "k.json", "--key-where", "a = "], "can't be"),
        (["--remove-key", "x", "--keys", "k.json"], "can't be read"),
        (["{store}", "--add-key", "x", "--keys", "k.json"], "nothing else at once"),
    ],
)
def test_wrong_options_are_named(
    words: list[str],
    says: str,
    tenants: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        names = {"store": str(tenants), "taken": str(taken.getsockname()[1])}
        assert main(["serve", *(word.format(**names) for word in words)]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(
    tenants: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", str(tenants)]) == 2
    assert "pip install 'albeam[serve]'" in capsys.readouterr().err


def test_a_key_has_a_name_of_its_own(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "keys.json"
    first = make_key(capsys, file, "one")
    assert first != make_key(capsys, file, "two")
    assert main(["serve", "--keys", str(file), "--add-key", "one"]) == 2
    assert "Give another name" in capsys.readouterr().err
