"""Checks of pages of HTML: whole and inert as text, and sound in a real browser."""

import re
from html.parser import HTMLParser
from pathlib import Path

from tests.support.browser import Browser

#: Texts that overlap others, and how many texts there are.
OVERLAPS = """
(() => {
  const boxes = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, words = node.textContent.trim();
    if (!words || node.parentElement.closest('title, style')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) boxes.push([box, words, node]);
  }
  const found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [a, first, one] = boxes[i], [b, second, two] = boxes[j];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (one !== two && wide > 1 && high > 2) found.push([first.slice(0, 40), second.slice(0, 40)]);
  }
  return {texts: boxes.length, found};
})()
"""
#: Texts of charts that stick out of them.
OUTSIDE = """
[...document.querySelectorAll('svg text')].filter(text => {
  const a = text.getBoundingClientRect(), b = text.closest('svg').getBoundingClientRect();
  return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1
      || a.bottom > b.bottom + 1;
}).map(text => text.textContent)
"""
_SMALLEST = """
Math.min(...[...document.querySelectorAll('svg text')].map(text =>
  text.getBoundingClientRect().height))
"""


class Tags(HTMLParser):
    """Every tag and attribute of a page, and whether tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        if tag in ("circle", "rect"):
            return
        assert self.open.pop() == tag


def check_inert(text: str) -> None:
    """Check that a page is whole, and that its data, which have ``<script>``, are no markup."""
    parsed = Tags()
    parsed.feed(text)
    assert parsed.open == []
    assert not parsed.tags & {"script", "img", "link", "iframe", "b onclick", "u", "image"}
    assert not {name for name in parsed.attributes if name.startswith("on")}
    assert not parsed.attributes & {"src", "href"}
    assert "&lt;script&gt;" in text
    assert not re.findall(r"url\(|@import|https?://", text)


def check_page(
    browser: Browser, page: Path, width: int, scheme: str, *, charts: int, texts: int
) -> None:
    """Check that a page loads nothing, says nothing, and that nothing overlaps or sticks out.

    Args:
        browser: the browser.
        page: the page.
        width: the pixels of the window.
        scheme: ``light`` or ``dark``.
        charts: the charts that the page has at least.
        texts: the texts that it has at least.
    """
    browser.open(page, width, scheme)
    assert browser.messages == []
    assert browser.requests == [page.resolve().as_uri()]
    assert browser.evaluate("typeof window.evil") == "undefined"
    assert browser.evaluate("document.querySelectorAll('svg').length") >= charts
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    overlaps = browser.evaluate(OVERLAPS)
    assert overlaps["texts"] > texts
    assert overlaps["found"] == []
    assert browser.evaluate(OUTSIDE) == []
    assert browser.evaluate(_SMALLEST) >= 10.9
