"""Parse the parts of a Markdown page that the checks need: headings, links, code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The Markdown pages that people read, as globs below the root.
PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md"),
    *("deploy/**/*.md", "transforms/models/*/*.md"),
)

_FENCE = re.compile(r"^(`{3,})(\w*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")
_HEADING = re.compile(r"^#{1,6} (.+?)\s*$")
_LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)"
    r"|<(?:img|source|a) [^>]*?(?:src|srcset|href)=\"([^\"]+)\""
)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        language: the word after the fence, or "".
        code: its lines.
        line: the number of its first line of code, from 1.
        not_run: the reason why no test runs it, or "".
    """

    language: str
    code: str
    line: int
    not_run: str = ""


@dataclass
class Page:
    """A page, taken apart.

    Attributes:
        path: the file.
        headings: texts of the headings, in order.
        links: targets of links and pictures, as written.
        spans: inline code outside fenced blocks.
        blocks: fenced blocks.
    """

    path: Path
    headings: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The path below the root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub makes them."""
        seen: dict[str, int] = {}
        found = set()
        for heading in self.headings:
            anchor = anchor_of(heading)
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            found.add(f"{anchor}-{count}" if count else anchor)
        return found


def pages() -> list[Page]:
    """Return all pages, in the order of their paths."""
    paths = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    return [read_page(path) for path in sorted(paths)]


def read_page(path: Path) -> Page:
    """Take a page apart."""
    page = Page(path)
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    reason = ""
    prose: list[str] = []
    for number, line in lines:
        if fence := _FENCE.match(line):
            code = list(_until(lines, fence[1]))
            page.blocks.append(Block(fence[2], "\n".join(code) + "\n", number + 1, reason))
            reason = ""
            continue
        if not_run := _NOT_RUN.match(line):
            reason = not_run[1].strip()
        elif line.strip():
            reason = ""
        if heading := _HEADING.match(line):
            page.headings.append(heading[1])
        prose.append(line)
    text = "\n".join(prose)
    page.spans = _CODE.findall(text)
    links = _LINK.findall(_CODE.sub("code", text))
    page.links = [markdown or html for markdown, html in links]
    return page


def _until(lines: Iterator[tuple[int, str]], fence: str) -> Iterator[str]:
    for _, line in lines:
        if line.rstrip() == fence:
            return
        yield line


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
