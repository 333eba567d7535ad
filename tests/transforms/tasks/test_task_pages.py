"""The reports of heads: inert whatever the data say, and sound in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.browser import Browser, find_chromium
from tests.support.pages import check_inert, check_page
from transforms.tasks.data.bio import Span
from transforms.tasks.data.labels import Classes
from transforms.tasks.metrics.answer_page import answer_page, worst_answers
from transforms.tasks.metrics.class_metrics import class_metrics
from transforms.tasks.metrics.class_page import class_page, worst_examples
from transforms.tasks.metrics.entity_metrics import entity_metrics
from transforms.tasks.metrics.entity_page import entity_page, worst_entities
from transforms.tasks.metrics.similarity_page import similarity_page, worst_pairs
from transforms.tasks.metrics.task_page import Page
from transforms.tasks.metrics.text_metrics import answer_metrics, similarity_metrics
from transforms.tasks.networks.similarity_training import ScoredPairs

EVIL = "<script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"'&amp;]]>"
IDENTITY = [("head", f"/folder/{EVIL}"), ("weights", "sha256 " + 64 * "0"), ("seed", "0")]


def classes_page(count: int, several: bool = False) -> Page:
    """A page of so many classes, some with long names."""
    rng = np.random.default_rng(0)
    names = tuple(f"{EVIL if n == 1 else 'a class of a long name'} {n}" for n in range(count))
    known = rng.integers(0, count, 300)
    scores = rng.random((300, count)) + np.eye(count)[known] * 0.7
    scores /= scores.sum(axis=1, keepdims=True)
    codes = np.eye(count, dtype=bool)[known] if several else known
    metrics = class_metrics(codes, scores, names, resamples=5)
    texts = [f"{EVIL} {'word' * 80} {n}" for n in range(300)]
    classes = Classes(names, several=several)
    return class_page(metrics, worst_examples(classes, codes, scores.astype(np.float32), texts))


def entities_page() -> Page:
    rng = np.random.default_rng(0)
    kinds = ["person", f"{EVIL} type", "Ein sehr langer Name eines Typs von Dingen", "x"]
    texts, known, found, scores = [], [], [], []
    for row in range(40):
        texts.append(f"{EVIL} {'unbroken' * 30} {row} " + "river " * 60)
        spans = [Span(int(a), int(a) + 9, str(rng.choice(kinds))) for a in (3, 90, 200, 400)]
        known.append(spans)
        found.append([Span(s.start + int(rng.integers(0, 2)), s.end, str(rng.choice(kinds)))
                      for s in spans[: int(rng.integers(0, 4))]])  # fmt: skip
        scores.append(rng.random(len(found[-1])).tolist())
    metrics = entity_metrics(known, found, scores, resamples=5)
    return entity_page(metrics, worst_entities(texts, known, found, scores))


def pairs_page() -> Page:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 26, 2_000) / 5
    found = np.clip(known / 5 + rng.normal(0, 0.3, 2_000), -1, 1)
    texts = [f"{EVIL} {'letters' * 40} {n}" for n in range(2_000)]
    metrics = similarity_metrics(known, found, resamples=5)
    worst = worst_pairs(ScoredPairs(texts, texts, known), found)
    return similarity_page(metrics, known, found, worst)


def answers_page() -> Page:
    rng = np.random.default_rng(0)
    words = ["how", EVIL, "who", "a_word_of_more_letters_than_a_chart_has_room_for"]
    questions = [f"{words[n % 4]} is {'this' * 60} {EVIL} {n}?" for n in range(80)]
    known = [[] if n % 5 == 0 else [f"the {EVIL}", "river stone"] for n in range(80)]
    answers = [str(rng.choice(["", "river", "river stone", f"{EVIL} x" * 9])) for _ in range(80)]
    scores = rng.normal(0, 5, 80).tolist()
    worst = worst_answers(questions, [f"{EVIL} " * 50] * 80, answers, known, scores)
    metrics = answer_metrics(answers, known, resamples=5)
    return answer_page(metrics, questions, answers, known, scores, worst)


#: How each page is made, and how many charts it has.
PAGES = {
    "two classes": (lambda: classes_page(2), 3),
    "many classes": (lambda: classes_page(45), 3),
    "several labels": (lambda: classes_page(3, several=True), 2),
    "entities": (entities_page, 3),
    "answers": (answers_page, 3),
    "pairs": (pairs_page, 2),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium here: install Debian's chromium, or name one in CHROMIUM")
    opened = Browser(chromium)
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a page; its name is that of the page."""
    make, _ = PAGES[request.param]
    file = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    file.write_text(make().html(IDENTITY), encoding="utf-8")
    return file


def test_a_page_is_whole_and_nothing_of_the_data_is_markup(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    check_inert(text)
    for title in ("Metrics", "The worst examples", "What was measured"):
        assert f">{title}<" in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_in_a_browser_it_renders_and_nothing_overlaps(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    _, charts = PAGES[page.stem]
    check_page(browser, page, width, scheme, charts=charts, texts=40)


def test_a_page_without_errors_says_so() -> None:
    right = [[Span(0, 5, "a")]]
    metrics = entity_metrics(right, right, [[0.5]], resamples=5)
    text = entity_page(metrics, worst_entities(["river"], right, right, [[0.5]])).html(IDENTITY)
    assert "None: everything is right." in text
    nothing: list[list[Span]] = [[]]
    metrics = entity_metrics(nothing, nothing, [[]], resamples=5)
    assert "0 entities of 0 types" in entity_page(metrics, []).html(IDENTITY)
