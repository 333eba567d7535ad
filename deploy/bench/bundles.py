"""What bundles of a store weigh, and how soon they answer: as a new process, and in a browser.

Run as ``python -m deploy.bench.bundles STORE`` on Linux, with Chromium and npm. `make
bench-bundles` does so with the demo's store. It writes a folder, an archive and a page. Each
program starts anew for each answer, by turns. In headless Chromium the questions are the first
words of passages; a question takes from its sending to the hits on the page.
``--work FOLDER`` keeps the
bundles, and takes those that are there. The exit code is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bench.targets import Target, finish
from pipeline.bundles.bundle import ask_once, run
from tests.support.browser import Browser, find_chromium
from transforms.bundles.options import BundleOptions

#: The targets: megabytes, seconds of a first answer, milliseconds of a question in the browser.
_FOLDER, _PAGE, _FIRST, _QUESTION = 60.0, 45.0, 1.0, 300.0
_WORDS, _WIDTH = 12, 1_440
_LOAD_SECONDS = 600
#: Sends a question, and returns milliseconds until its hits are on the page.
_ASK = """new Promise((done, fail) => {{
  const began = performance.now();
  new MutationObserver(() => done(performance.now() - began))
    .observe(document.getElementById("hits"), {{ childList: true }});
  setTimeout(() => fail(document.getElementById("status").textContent), 50_000);
  document.getElementById("q").value = {question};
  document.getElementById("ask").requestSubmit();
}})"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Tell nothing."""


def size_of(bundle: Path) -> int:
    """Return the bytes of a bundle's files."""
    files = bundle.rglob("*") if bundle.is_dir() else [bundle]
    return sum(path.stat().st_size for path in files if path.is_file())


def questions_of(site: Path, count: int) -> list[str]:
    """Return the first words of evenly spaced passages of a page, each once."""
    files = sorted((site / "passages").glob("*.json"))
    texts = [each["text"] for file in files for each in json.loads(file.read_text("utf-8"))]
    count = min(count, len(texts))
    chosen = [texts[place * len(texts) // count] for place in range(count)]
    found = (" ".join(text.split()[:_WORDS]) for text in chosen)
    return list(dict.fromkeys(filter(None, found)))


def write(store: str, work: Path) -> dict[str, Path]:
    """Write the bundles of a store that are not there; return all by their kind."""
    paths = {"folder": work / "edge", "archive": work / "edge.zip", "page": work / "site"}
    for kind, path in paths.items():
        if not path.exists():
            run(
                BundleOptions(store, path, kind == "page"),
                lambda text: print(text, file=sys.stderr),
            )
    return paths


def first_answers(
    programs: dict[str, Path], turns: int, python: str
) -> dict[str, dict[str, float]]:
    """Return the median seconds of new processes by program, and their memory in MB."""
    found: dict[str, list[tuple[float, dict[str, float]]]] = {name: [] for name in programs}
    for _ in range(turns):
        for name, program in programs.items():
            found[name].append(ask_once(program, python))
    return {
        name: {
            "seconds": statistics.median(seconds for seconds, _ in each),
            "processor_seconds": statistics.median(own["processor_seconds"] for _, own in each),
            "megabytes": max(own["memory_bytes"] for _, own in each) / 1e6,
        }
        for name, each in found.items()
    }


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on loopback, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def in_browser(address: str, questions: Sequence[str], chromium: str) -> dict[str, float]:
    """Return the seconds until a page can be asked, and percentiles of questions, in ms."""
    browser = Browser(chromium)
    try:
        began = time.perf_counter()
        browser.open(address, _WIDTH)
        while not browser.evaluate("document.body.classList.contains('ready')"):
            if time.perf_counter() - began > _LOAD_SECONDS:
                raise RuntimeError(f"the page is not ready: {browser.messages}")
            time.sleep(0.02)
        load = time.perf_counter() - began
        asked = [_ASK.format(question=json.dumps(question)) for question in questions]
        times = [float(browser.promised(script)) for script in asked]
    finally:
        browser.close()
    middle, high = np.percentile(times, (50, 95)).tolist()
    return {"load_seconds": load, "first": times[0], "p50": middle, "p95": high, "most": max(times)}


def main(words: list[str] | None = None) -> int:
    """Measure, print the figures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--work", type=Path, help="folder that keeps the bundles")
    parser.add_argument("--turns", type=int, default=5, help="first answers of each program")
    parser.add_argument("--questions", type=int, default=100, help="in the browser")
    parser.add_argument("--python", default=sys.executable, help="interpreter of first answers")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(words)
    chromium = find_chromium()
    if chromium is None:
        parser.error("no Chromium: put it on PATH, or set CHROMIUM to its path")
    with tempfile.TemporaryDirectory() as folder:
        bundles = write(given.store, given.work or Path(folder))
        sizes = {kind: size_of(path) / 1e6 for kind, path in bundles.items()}
        for kind, size in sizes.items():
            print(f"{kind}: {size:.1f} MB")
        programs = {"folder": bundles["folder"] / "ask.py", "archive": bundles["archive"]}
        answers = first_answers(programs, given.turns, given.python)
        for kind, each in answers.items():
            print(
                f"first answer, {kind}: {each['seconds']:.2f} s, of which processors "
                f"{each['processor_seconds']:.2f} s; {each['megabytes']:.0f} MB"
            )
        questions = questions_of(bundles["page"], given.questions)
        with served(bundles["page"]) as address:
            page = in_browser(address, questions, chromium)
        print(
            f"browser: ready after {page['load_seconds']:.1f} s; {len(questions)} questions: "
            f"p50 {page['p50']:.0f} ms, p95 {page['p95']:.0f} ms, first {page['first']:.0f} ms"
        )
    targets = [
        *(Target(f"{each}, MB", _FOLDER, sizes[each], least=False) for each in programs),
        Target("page, MB", _PAGE, sizes["page"], least=False),
        *(
            Target(f"first answer, {each}, s", _FIRST, answers[each]["seconds"], least=False)
            for each in programs
        ),
        Target("question in the browser, p95, ms", _QUESTION, page["p95"], least=False),
    ]
    found = {"megabytes": sizes, "first_answers": answers, "browser": page}
    return finish(found, targets, given.json)


if __name__ == "__main__":
    sys.exit(main())
