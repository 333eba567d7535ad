"""The page of a bundle in a real browser: its hits, its words, its looks, and no other server."""

import functools
import json
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pipeline.cli import main
from pipeline.demo import QUESTIONS
from tests.support.browser import Browser, find_chromium
from tests.support.corpora import small_demo
from tests.transforms.bundles.test_ask_script import TEXTS
from transforms.bundles.packages import PACKAGES, fetch
from transforms.catalog.options import LANGUAGES
from transforms.errors import BadInput
from transforms.index.lexical.analyzer import Analyzer
from transforms.search.store import Store

pytestmark = pytest.mark.slow

_ASK = """(async () => {{
  const {{ Bundle }} = await import("./bundle.js");
  window.opened ??= await Bundle.load(() => {{}});
  const found = [];
  for (const question of {questions}) found.push(await opened.search(question, "{mode}", 10));
  return found;
}})()"""
_WORDS = """(async () => {{
  const {{ Analyzer }} = await import("./analysis.js");
  const tables = await (await fetch("characters.json")).json();
  const module = await import("./vendor/stemmer.js");
  const binary = await (await fetch("vendor/stemmer.wasm")).arrayBuffer();
  await module.default({{ module_or_path: binary }});
  const language = "{language}", name = language[0].toUpperCase() + language.slice(1);
  const stemmer = language === "none" ? null : new module.Stemmer(module.Languages[name]);
  const analyzer = new Analyzer(tables, language, word => stemmer ? stemmer.stem(word) : word);
  return {texts}.map(text => analyzer.words(text).map(({{ terms, parts }}) => [terms, parts]));
}})()"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(str(small_demo(tmp_path_factory.mktemp("demo"))), device="cpu")


@pytest.fixture(scope="module")
def site(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        for package in PACKAGES:
            fetch(package)
    except BadInput as error:
        pytest.skip(f"the packages of the page: {error}")
    folder = tmp_path_factory.mktemp("sites") / "site"
    assert main(["bundle", store.url, "--web", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium; set CHROMIUM to its path")
    opened = Browser(chromium)
    yield opened
    opened.close()


def wait_for(browser: Browser, script: str) -> Any:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        if found := browser.evaluate(script):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{script} did not come true; {browser.messages}")


def test_it_is_small_and_keeps_licences(site: Path) -> None:
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert size < 45_000_000
    assert {"albeam", "huggingface-tokenizers", "multilingual-stemmer", "onnxruntime"} <= {
        path.name for path in (site / "LICENSES").iterdir()
    }


@pytest.mark.parametrize(("mode", "error"), [("hybrid", 2e-3), ("dense", 3e-3), ("lexical", 1e-4)])
def test_hits_are_those_of_albeam_search(
    store: Store, browser: Browser, address: str, mode: str, error: float
) -> None:
    questions = [question for question, _ in QUESTIONS]
    browser.open(address, 1440)
    found = browser.promised(_ASK.format(questions=json.dumps(questions), mode=mode))
    for ours, theirs in zip(found, store.search(questions, 10, mode), strict=True):
        ids = [hit["document_id"] for hit in ours]
        expected = {hit.document_id: hit for hit in theirs}
        last = theirs[-1].score
        for hit in ours:
            # Vectors of bytes may change places with a document that scores the same but for that.
            other = expected.get(hit["document_id"])
            if other is None:
                assert mode != "lexical"
                assert abs(hit["score"] - last) < error
                continue
            assert abs(hit["score"] - other.score) < error
            # So may two passages of a document.
            if hit["passage"] == other.passage or mode == "lexical":
                assert (hit["text"], hit["metadata"]) == (other.text, other.metadata)
        assert ids[0] == theirs[0].document_id
        assert len(set(ids) & set(expected)) >= (len(ids) if mode == "lexical" else len(ids) - 1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_those_of_the_store(browser: Browser, address: str, language: str) -> None:
    # Without those whose end is replaced by a digest, which the page can't compute.
    texts = [text for text in TEXTS if "x" * 150 not in text]
    browser.open(address, 1440)
    given = json.dumps(texts)
    found = browser.promised(_WORDS.format(language=language, texts=given))
    analyzer = Analyzer(language)
    for text, words in zip(texts, found, strict=True):
        expected = [
            [list(each.terms), list(map(list, each.parts))] for each in analyzer.words(text)
        ]
        assert words == expected, text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_one_asks_and_reads(browser: Browser, address: str, width: int, scheme: str) -> None:
    browser.open(address, width, scheme)
    wait_for(browser, "document.body.classList.contains('ready')")
    assert "documents" in browser.evaluate("document.getElementById('status').textContent")
    browser.evaluate(
        "q.value = 'How do I parse JSON from a string?';"
        "q.dispatchEvent(new Event('input', { bubbles: true }))"
    )
    wait_for(browser, "document.querySelectorAll('.hits article').length === 10")
    assert browser.evaluate("document.querySelectorAll('.passage mark').length") > 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert not browser.messages
    others = [each for each in browser.requests if not each.startswith((address, "data:"))]
    assert not others


def test_an_address_is_a_question_and_keys_move(browser: Browser, address: str) -> None:
    asked = urlencode({"q": "zzzz qqqq", "mode": "lexical", "k": 5})
    browser.open(f"{address}?{asked}", 1440)
    wait_for(browser, "document.getElementById('status').textContent.includes('No document')")
    browser.open(f"{address}?{urlencode({'q': 'temporary directory', 'k': 5})}", 1440)
    wait_for(browser, "document.querySelectorAll('.hits article').length === 5")
    key = "document.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{}' }}))".format
    browser.evaluate(key("ArrowDown"))
    assert browser.evaluate("document.activeElement.tagName") == "ARTICLE"
    assert not browser.messages


def test_a_value_of_a_column_filters(store: Store, browser: Browser, address: str) -> None:
    question = QUESTIONS[0][0]
    asked = urlencode({"q": question, "mode": "lexical", "k": 25, "f": "kind=class"})
    browser.open(f"{address}?{asked}", 360)
    ids = "[...document.querySelectorAll('.hits h2')].map(each => each.textContent)"
    wait_for(browser, f"{ids}.length > 0")
    expected = store.search([question], 25, "lexical", where="kind = 'class'")[0]
    assert browser.evaluate(ids) == [hit.document_id for hit in expected]
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    select = "document.querySelector('select[data-column=kind]')"
    told = browser.evaluate(f"[...{select}.options].map(each => each.textContent)")
    assert told[0] == "any"
    assert [each.split(" (")[0] for each in told[1:]] == ["class", "function", "module"]
    browser.evaluate(
        f"{select}.value = ''; {select}.dispatchEvent(new Event('change', {{ bubbles: true }}))"
    )
    wait_for(browser, f"{ids}.length === 25")
    assert "f=" not in browser.evaluate("location.search")
    assert not browser.messages


def test_a_file_that_is_missing_is_told(site: Path, browser: Browser, address: str) -> None:
    held = site / "held.bin"
    held.rename(site / "away.bin")
    try:
        browser.call("Network.setCacheDisabled", cacheDisabled=True)
        browser.open(address, 1440)
        wait_for(browser, "document.getElementById('status').textContent.includes('held.bin')")
    finally:
        browser.call("Network.setCacheDisabled", cacheDisabled=False)
        (site / "away.bin").rename(held)
