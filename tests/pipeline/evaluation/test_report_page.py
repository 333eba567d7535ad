"""The page of an evaluation: inert whatever the corpus says, and sound in a real browser."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from tests.support.browser import Browser, find_chromium
from tests.support.models import make_texts
from tests.support.options import embed_options
from tests.support.pages import OUTSIDE, OVERLAPS, Tags, check_inert, check_page
from transforms.evaluation import svg
from transforms.evaluation.corpus_sample import most_frequent, principal_places, sample_corpus
from transforms.evaluation.report_page import shortened
from transforms.search.store import Store

EVIL = "<script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"'&amp;]]>"
#: Ids of documents may be anything, too.
EVIL_ID = "<b onclick=evil()>id</b>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> str:
    folder = tmp_path_factory.mktemp("report")
    texts = [*make_texts(78), f"river {EVIL} stone", "garden " * 90]
    ids = [*(f"doc-{n:05d}" for n in range(78)), EVIL_ID, "long"]
    kinds = [f"{EVIL} {n % 8}" for n in range(80)]
    columns = {"id": ids, "text": texts, "kind": kinds, "year": list(range(80))}
    pq.write_table(pa.table(columns), folder / "corpus.parquet")
    url = str(folder / "store")
    corpus = folder / "corpus.parquet"
    embed(embed_options(url, albert, corpus, stride=EmbedOptions.stride))
    return url


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, store: str) -> Path:
    """The page of two systems, one of them with a long name, and questions full of markup."""
    folder = tmp_path_factory.mktemp("page")
    texts = make_texts(78)
    rows = [
        {
            "question_id": f"q{n}{'<i>' if n == 2 else ''}",
            "question": f"{' '.join(texts[n].split()[:2])} {EVIL if n % 2 else ''}",
            "relevant": [EVIL_ID if n == 1 else "nowhere" if n == 3 else f"doc-{n:05d}"],
        }
        for n in range(40)
    ]
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [f"{row['question_id']} Q0 doc-{n % 9:05d} 1 {40 - n} t" for n, row in enumerate(rows)]
    (folder / "other.trec").write_text("\n".join(lines))
    page = folder / "report.html"
    beside = f"a system of quite another name <u>={folder / 'other.trec'}"
    command = ["evaluate", store, str(folder / "q.jsonl"), "--modes", "all", "--beside", beside]
    assert main([*command, "--report", str(page), "--colour", "kind", "--dtype", "float32"]) == 0
    return page


def test_the_page_is_whole_and_nothing_of_the_corpus_is_markup(report: Path) -> None:
    check_inert(report.read_text(encoding="utf-8"))


def test_the_page_has_every_picture(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    for title in (
        "Metrics", "Success@k", "Ranks, dense", "Scores of right and wrong first hits",
        "Tokens a passage", "Characters a passage", "Map of the vectors", "Latency",
        "The hardest questions", "What was measured",
    ):  # fmt: skip
        assert f">{title}<" in text, title
    for said in ("sha256", "english", "0.7 on the cosine"):
        assert said in text
    assert "not in the store" in text
    assert "a system of quite another name &lt;u&gt;" in text


def test_one_question_one_document_deep_still_makes_a_page(store: str, tmp_path: Path) -> None:
    question = {"question_id": "q", "question": "river stone", "relevant": ["nowhere"]}
    (tmp_path / "q.jsonl").write_text(json.dumps(question))
    page = tmp_path / "new" / "r.html"
    command = ["evaluate", store, str(tmp_path / "q.jsonl"), "-k", "1", "--report", str(page)]
    assert main(command) == 0
    assert "not found" in page.read_text(encoding="utf-8")
    parsed = Tags()
    parsed.feed(page.read_text(encoding="utf-8"))
    assert "svg" in parsed.tags
    assert "nan" not in re.findall(r'(?:points|x|y|cx|cy|height)="(\w+)"', page.read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "{tmp}/r.pdf"], "--report {tmp}/r.pdf: does not end in .html"),
        (["--report", "{tmp}/file/r.html"], "--report {tmp}/file/r.html: can't be written"),
        (["--report", "{tmp}/r.html", "--colour", "tint"], "--colour tint: is not a metadata"),
    ],
)
def test_a_report_that_can_not_be_written_is_refused_before_any_search(
    arguments: list[str],
    message: str,
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    question = {"question_id": "q", "question": "river stone", "relevant": ["x"]}
    (tmp_path / "q.jsonl").write_text(json.dumps(question))
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    command = ["evaluate", store, str(tmp_path / "q.jsonl"), "--model", "/gone", *given]
    assert main(command) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium here: install Debian's chromium, or name one in CHROMIUM")
    opened = Browser(chromium)
    yield opened
    opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_in_a_browser_it_renders_and_nothing_overlaps(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    check_page(browser, report, width, scheme, charts=8, texts=150)
    page, ink = browser.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        ".map(colour => Math.max(...colour.match(/\\d+/g).map(Number)))"
    )
    bright, dim = (page, ink) if scheme == "light" else (ink, page)
    assert bright > 200
    assert dim < 60


def test_the_overlap_check_finds_overlaps(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<svg viewBox='0 0 100 50'><text x=5 y=20>one</text><text x=8 y=22>two</text>"
        "<text x=90 y=40>three</text></svg><script>console.error('no')</script>"
    )
    browser.open(page, 400)
    assert browser.evaluate(OVERLAPS)["found"] == [["one", "two"]]
    assert browser.evaluate(OUTSIDE) == ["three"]
    assert len(browser.messages) == 1


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0.0", "0.5", "1.0"]),
        (0.55, 0.98, ["0.4", "0.6", "0.8", "1.0"]),
        (0, 48, ["0", "20", "40", "60"]),
        (0.0164, 0.0328, ["0.015", "0.020", "0.025", "0.030", "0.035"]),
        (0, 70_000, ["0", "20k", "40k", "60k", "80k"]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, texts: list[str]) -> None:
    assert [text for _, text in svg.axis("", low, high).ticks] == texts


def test_the_beginning_of_a_text_is_shown_with_and_without_blanks() -> None:
    assert shortened(" a \n river ") == "a river"
    assert shortened("東京" * 200) == "東京" * 89 + " …"
    assert shortened("river " * 60) == "river " * 28 + "river …"
    assert shortened("a " + "b" * 400) == "a " + "b" * 176 + " …"


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 12_345.678])
def test_an_axis_of_one_value_has_room(value: float) -> None:
    axis = svg.axis("", value, value)
    assert axis.low < value < axis.high
    assert 0 < axis.place(value) < 1
    assert len({text for _, text in axis.ticks}) == len(axis.ticks) <= 7


def test_principal_places_are_those_of_a_stretched_cloud() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(400, 5)) * [9, 4, 0.1, 0.1, 0.1]
    places, (first, second) = principal_places(cloud.astype(np.float32) + 7)
    assert first == pytest.approx(81 / 97, abs=0.05)
    assert first + second == pytest.approx(1, abs=0.01)
    for side in (0, 1):
        assert abs(np.corrcoef(places[:, side], cloud[:, side])[0, 1]) > 0.99
    assert principal_places(np.ones((1, 3), np.float32))[0].tolist() == [[0, 0]]


def test_a_sample_of_few_passages_has_all_of_them(store: str) -> None:
    opened = Store.open(store, dtype="float32")
    sample = sample_corpus(opened, "kind")
    tables = list(opened.documents(["text"]))
    texts = [text for table in tables for text in table.column("text").to_pylist()]
    assert sample.passages == len(texts)
    assert sorted(sample.characters) == sorted(map(len, texts))
    assert sample.tokens.max() <= 48
    assert len(set(sample.groups)) == 6
    assert most_frequent(["b", "a", "b", "c"], 2) == ["b", "a", "b", "other"]
    assert sample_corpus(opened, "kind").places.tolist() == sample.places.tolist()
