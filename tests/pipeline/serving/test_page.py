"""The page: without JavaScript, with it in a real browser, and inert whatever a corpus holds."""

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from pipeline.ingest.embed import run as embed
from pipeline.serving.core.keys import Keys, add_key
from pipeline.serving.core.models import load_models
from pipeline.serving.core.service import Service
from pipeline.serving.http.app import make_app
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits, ServeOptions
from pipeline.serving.page.facets import filter_text
from pipeline.serving.page.words import marked
from tests.pipeline.serving.conftest import SECRET
from tests.pipeline.serving.live import live
from tests.support.browser import Browser, find_chromium
from tests.support.models import make_texts
from tests.support.options import embed_options
from transforms.models.options import Placement
from transforms.search.store import Store

EVIL = "<script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"'&amp;]]>"
ADDRESS = "http://127.0.0.1"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Store:
    """A store whose ids, texts, columns and values are full of markup."""
    folder = tmp_path_factory.mktemp("evil")
    texts = [*make_texts(38), f"river {EVIL} stone", "garden " * 90]
    columns = {
        "id": [*(f"doc-{n:03d}" for n in range(38)), f"{EVIL}id", "long" + "g" * 200],
        "text": texts,
        "kind": [f"kind {n % 3}" for n in range(39)] + [EVIL],
        f"a {EVIL}": [f"value {n % 2}" for n in range(40)],
        "tags": [[f"t{n % 3}", "all"] for n in range(40)],
        "year": [2000 + n % 4 for n in range(40)],
    }
    pq.write_table(pa.table(columns), folder / "corpus.parquet")
    embed(embed_options(folder / "store", albert, folder / "corpus.parquet"))
    return Store.open(str(folder / "store"), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def read(evil: Store, pair_models: tuple[str, str]) -> Iterator[Service]:
    """A service over that store, with a reader."""
    models = load_models(pair_models[0], None, {}, evil, Placement("cpu", "float32"))
    made = Service({"main": evil}, models, Limits())
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(read: Service, evil: Store) -> TestClient:
    app: Any = make_app(read, ServeOptions({"main": evil.url}), Metrics())
    # Without a lifespan, which would close the service.
    return TestClient(app, ADDRESS, raise_server_exceptions=False)


class Tags(HTMLParser):
    """The tags and attributes of a page, and whether tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


@pytest.mark.parametrize("path", ["/", f"/?q={EVIL}", "/?q=river&k=50", "/docs", "/?q=a&k=0&f=x"])
def test_a_page_is_whole_and_nothing_of_the_corpus_is_markup(client: TestClient, path: str) -> None:
    found = client.get(path)
    parsed = Tags(found.text)
    assert parsed.open == []
    assert parsed.tags.count("script") <= 1
    assert not {"img", "iframe", "style", "b"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name == "style"]
    links = [value or "" for name, value in parsed.attributes if name in ("src", "href", "action")]
    assert all(link.startswith(("/", "#")) for link in links), links
    assert "'self'" in found.headers["content-security-policy"]


def ids_of(text: str) -> list[str]:
    return re.findall(r"<article[^>]*>\s*<h2>(.*?)</h2>", text)


def test_a_plain_search_needs_no_javascript(client: TestClient, evil: Store) -> None:
    found = client.get("/", params={"q": "river stone", "k": "5", "mode": "dense"})
    assert found.status_code == 200
    expected = [hit.document_id for hit in evil.search(["river stone"], 5, "dense")[0]]
    assert ids_of(found.text) == [
        each.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        .replace('"', "&#34;").replace("'", "&#39;") for each in expected
    ]  # fmt: skip
    assert "mode dense, snapshot 1" in found.text
    assert '<h2 id="answer">Answer</h2>' in found.text
    assert "<mark" in found.text


def test_filters_are_links_that_narrow_the_hits(client: TestClient) -> None:
    first = client.get("/?q=river&k=50&mode=dense").text
    links = re.findall(r'<a href="(/\?[^"]*)"', first)
    for name, value in (("kind", "kind+1"), ("tags", "t2"), ("year", "2001")):
        [link] = [each for each in links if each.endswith(f"f={name}%3D{value}")]
        narrowed = client.get(link.replace("&amp;", "&")).text
        assert 0 < len(ids_of(narrowed)) < len(ids_of(first)) == 40
        assert 'aria-current="true"' in narrowed
        kept = f"{name}={value.replace('+', ' ')}"
        assert f'<input type="hidden" name="f" value="{kept}">' in narrowed
    # Each name of a column and each value is quoted.
    chosen = filter_text(f"a {EVIL}", "value 1")
    odd = client.get("/", params={"q": "river", "k": "50", "mode": "dense", "f": chosen})
    assert (odd.status_code, len(ids_of(odd.text))) == (200, 20)
    none = client.get("/", params={"q": "river", "f": "kind=' OR true --"})
    assert "No document was found" in none.text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=river&mode=magic", 400),
        ("q=river&k=9999999", 400),
        ("q=river&k=abc", 200),
        ("q=river&snapshot=77", 400),
        ("q=river&store=none", 404),
        ("q=river&f=nothing%3D1", 400),
        ("q=river&f=nothing", 400),
        ("q=%ff%00", 200),
        ("q=" + "x" * 9_000, 413),
        ("q=%20", 200),
    ],
)
def test_an_error_is_told_on_the_page(client: TestClient, query: str, status: int) -> None:
    found = client.get(f"/?{query}")
    assert found.status_code == status
    assert ('role="alert"' in found.text) is (status != 200)
    assert '<form id="ask"' in found.text
    assert Tags(found.text).open == []


def test_files_of_the_page_are_those_that_it_links(client: TestClient) -> None:
    assert client.get("/static/page.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/static/style.css").headers["content-type"].startswith("text/css")
    for name in ("page.html.j2", "routes.py", "..%2Froutes.py", "none"):
        assert client.get(f"/static/{name}").status_code == 404


def test_the_description_has_every_route_and_object(client: TestClient) -> None:
    schema, text = client.get("/openapi.json").json(), client.get("/docs").text
    for path in schema["paths"]:
        assert path in text
    for name in schema["components"]["schemas"]:
        assert f'<section id="{name}">' in text
    for link in re.findall(r'href="#([^"]*)"', text):
        assert f'id="{link}"' in text


def test_a_key_opens_the_page_and_its_rights_hold_there(opened: Store, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    mine = add_key(file, "tenant", where="tenant = 'a'")
    service = Service({"main": opened}, load_models(None, None, {}, opened, Placement()), Limits())
    app: Any = make_app(service, ServeOptions({"main": opened.url}), Metrics(), Keys(file))
    with TestClient(app, ADDRESS) as client:
        for answer in (client.get("/?q=river"), client.post("/key", data={"key": "wrong"})):
            assert answer.status_code == 401
            assert 'type="password"' in answer.text
            assert "<article" not in answer.text
        answer = client.post("/key", data={"key": mine}, follow_redirects=False)
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        text = client.get(f"/?q={SECRET}&k=50&mode=dense").text
        assert len(ids_of(text)) == 40
        assert "hunter2-" not in text
        foreign = client.get("/", params={"q": "river", "f": "tenant=b"}).text
        assert ids_of(foreign) == []
        # The cookie opens the page alone, so that no other web site can use it.
        assert client.post("/search", json={"question": "river"}).status_code == 401
        client.post("/key", data={"key": ""})
        assert client.get("/").status_code == 401


def test_words_of_the_question_and_the_answer_are_marked() -> None:
    pieces = marked("Rivers and stones, a river.", "the RIVER stone", (15, 17))
    assert "".join(piece.text for piece in pieces) == "Rivers and stones, a river."
    assert [(p.text, p.kind) for p in pieces if p.kind != "plain"] == [
        ("Rivers", "word"), ("es", "answer"), ("river", "word"),
    ]  # fmt: skip
    assert marked("", "a") == []
    assert [piece.kind for piece in marked("art article", "art")] == ["word", "plain"]


@pytest.mark.parametrize(
    ("text", "question", "words"),
    [
        ("the steam and the engines", "Who invented the steam engine", ["steam", "engines"]),
        ("steady inventors", "steam was invented", ["inventors"]),
        ("the the", "the", ["the", "the"]),
        ("AI and US", "the AI of the US", ["AI", "US"]),
        ("東京 は 東京都", "東京", ["東京"]),
        ("straße STRASSE", "Strasse", ["straße", "STRASSE"]),
    ],
)
def test_words_are_marked_in_other_forms(text: str, question: str, words: list[str]) -> None:
    assert [piece.text for piece in marked(text, question) if piece.kind == "word"] == words


@pytest.fixture(scope="module")
def address(read: Service) -> Iterator[str]:
    close, read.close = read.close, lambda: None  # type: ignore[method-assign]
    with live(read) as made:
        yield made
    read.close = close  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium; set CHROMIUM to its path")
    opened = Browser(chromium)
    yield opened
    opened.close()


def wait_for(browser: Browser, script: str) -> Any:
    for _ in range(200):
        if found := browser.evaluate(script):
            return found
        time.sleep(0.05)
    raise AssertionError(script)


TYPE = (
    "(() => {{ const q = document.getElementById('q'); q.focus(); q.value = {text!r};"
    " q.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
)
COUNT = "document.querySelectorAll('.hits article').length"
CONTRASTS = """
(() => {
  const light = colour => {
    const parts = colour.match(/[\\d.]+/g).map(Number);
    if (parts.length > 3 && parts[3] === 0) return null;
    const [r, g, b] = parts.slice(0, 3).map(v => v / 255).map(
      v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = light(getComputedStyle(node).backgroundColor);
      if (found !== null) return found;
    }
    return 1;
  };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !node.getClientRects().length) continue;
    const a = light(getComputedStyle(node).color), b = behind(node);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([walk.currentNode.textContent.trim().slice(0, 30), ratio]);
  }
  return found;
})()
"""
UNNAMED = """
[...document.querySelectorAll('input:not([type=hidden]), select, button, a')].filter(node =>
  !(node.labels && node.labels.length) && !node.textContent.trim()
  && !node.getAttribute('aria-label')).map(node => node.outerHTML)
"""


@pytest.mark.parametrize("width", [360, 1_440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/?q=river+stone&k=50", "/?q=river&k=0000000000", "/docs"])
def test_a_page_is_sound_in_a_browser(
    browser: Browser, address: str, width: int, scheme: str, path: str, tmp_path: Path
) -> None:
    browser.open(address + path, width, scheme)
    assert browser.messages == []
    assert all(url.startswith(address) for url in browser.requests)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("window.evil") is None
    assert browser.evaluate(CONTRASTS) == []
    assert browser.evaluate(UNNAMED) == []
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 1_000


def test_answers_come_as_one_types_and_filters_narrow_them(browser: Browser, address: str) -> None:
    browser.open(f"{address}/", 1_440)
    assert browser.evaluate(COUNT) == 0
    browser.evaluate(TYPE.format(text="river stone"))
    wait_for(browser, f"{COUNT} === 10")
    assert "q=river+stone" in browser.evaluate("location.search")
    loads = [url for url in browser.requests if "river" in url]
    browser.evaluate("document.querySelector('#found nav a').click()")
    wait_for(browser, "document.querySelector('#found nav a.chosen') !== null")
    assert "f=" in browser.evaluate("location.search")
    assert len(loads) == 1
    # The filter stays when another question is asked.
    browser.evaluate(TYPE.format(text="winter"))
    wait_for(browser, "location.search.includes('winter') && location.search.includes('f=')")
    assert browser.evaluate("document.querySelector('#found nav a.chosen') !== null")
    browser.evaluate(TYPE.format(text=f"a {EVIL}"))
    wait_for(browser, "location.search.includes('script') && !document.querySelector('.busy')")
    assert browser.evaluate("window.evil") is None
    assert browser.messages == []


def test_keys_lead_through_the_hits(browser: Browser, address: str) -> None:
    browser.open(f"{address}/?q=river", 1_440)
    press = (
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', "
        "{{key: {key!r}, bubbles: true, cancelable: true}}))"
    )
    place = "[...document.querySelectorAll('.hits article')].indexOf(document.activeElement)"
    browser.evaluate("document.getElementById('q').focus()")
    for key, expected in (
        ("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", -1),
    ):  # fmt: skip
        browser.evaluate(press.format(key=key))
        assert browser.evaluate(place) == expected
    browser.evaluate("document.querySelector('.hits article').focus()")
    browser.evaluate(press.format(key="/"))
    assert browser.evaluate("document.activeElement.id") == "q"


def test_an_empty_result_and_an_error_are_shown(browser: Browser, address: str) -> None:
    browser.open(f"{address}/?q=zzzz&mode=lexical", 360)
    assert browser.evaluate("document.querySelector('.empty').textContent").startswith("No docu")
    browser.open(f"{address}/?q=river&mode=magic", 360)
    assert "mode magic" in browser.evaluate("document.querySelector('[role=alert]').textContent")


def test_the_contrast_check_finds_pale_text(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<p style='color: #aaa; background: #fff'>pale</p><input><p>dark</p>")
    browser.open(page, 400)
    [[text, ratio]] = browser.evaluate(CONTRASTS)
    assert (text, ratio < 3) == ("pale", True)
    assert len(browser.evaluate(UNNAMED)) == 1
