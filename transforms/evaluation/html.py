"""A page of HTML that needs nothing but itself: no script, no network, light and dark.

Every word that comes from outside goes through `escape`; a policy in the head forbids the browser
to run or fetch anything all the same.
"""

from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --page: #f6f5f2; --card: #ffffff; --ink: #1c1b1a; --soft: #5c5a57;
  --rule: #dedbd5; --c0: #0063a6; --c1: #c24e00; --c2: #007a5a; --c3: #a03b80; --c4: #7a6200;
  --c5: #4f6d8f; --right: #00796b; --wrong: #b3a79a; }
@media (prefers-color-scheme: dark) { :root { --page: #161616; --card: #20201f; --ink: #ecebe8;
  --soft: #a9a6a0; --rule: #3a3937; --c0: #62b5f0; --c1: #f28c50; --c2: #3cc8a0; --c3: #e08cc4;
  --c4: #dcc04a; --c5: #a4bdd8; --right: #48c9b5; --wrong: #77706a; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 16px 48px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  overflow-wrap: anywhere; }
main { max-width: 1160px; margin: 0 auto; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 40px 0 4px; }
h3 { font-size: 15px; margin: 0 0 2px; }
p { margin: 0 0 12px; max-width: 72ch; }
.soft { color: var(--soft); }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr));
  margin: 20px 0; }
.cards { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 14px 12px; min-width: 0; }
.card > p { font-size: 13px; margin-bottom: 8px; }
.tile b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { display: block; font-size: 13px; color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: 13px; margin: 0 0 8px;
  padding: 0; list-style: none; }
.legend li { display: flex; align-items: center; gap: 6px; }
.legend i { width: 12px; height: 12px; border-radius: 3px; background: currentColor; }
.legend span { color: var(--ink); }
svg { display: block; width: 100%; max-width: 460px; height: auto; margin: 0 auto; }
svg text { font-size: 12px; fill: var(--soft); }
svg .value { fill: var(--ink); }
.grid { stroke: var(--rule); } .base { stroke: var(--soft); }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.dot { fill: currentColor; stroke: var(--card); stroke-width: 1.5; }
.bar { fill: currentColor; opacity: .72; } .solid { opacity: 1; }
.point { fill: currentColor; opacity: .75; stroke: var(--card); stroke-width: .4; }
.s0 { color: var(--c0); } .s1 { color: var(--c1); } .s2 { color: var(--c2); }
.s3 { color: var(--c3); } .s4 { color: var(--c4); } .s5 { color: var(--c5); }
.s6 { color: var(--right); } .s7 { color: var(--wrong); }
.wide { overflow-x: auto; padding: 4px 12px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 10px; border-top: 1px solid var(--rule);
  white-space: nowrap; }
tr:first-child th { border-top: 0; } th:first-child, td:first-child { text-align: left;
  padding-left: 0; }
th { font-weight: 600; } td small { display: block; color: var(--soft); font-size: 12px; }
dl { display: grid; grid-template-columns: minmax(90px, max-content) minmax(0, 1fr); gap: 6px 14px;
  margin: 8px 0 0; font-size: 14px; }
dt { color: var(--soft); } dd { margin: 0; }
.cards dl { grid-template-columns: minmax(0, 1fr); gap: 0; } .cards dt { font-size: 13px; }
.cards dd { margin-bottom: 8px; }
mark { background: none; color: var(--right); font-weight: 600; }
"""


def page(title: str, about: str, sections: Sequence[str]) -> str:
    """The whole document; ``title`` and ``about`` are plain text, sections are HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        f'<h1>{escape(title)}</h1><p class="soft">{escape(about)}</p>\n'
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def section(title: str, about: str, content: str) -> str:
    """A heading, a line of plain text below it, and HTML."""
    return (
        f'<section><h2>{escape(title)}</h2><p class="soft">{escape(about)}</p>{content}</section>'
    )


def cards(items: Sequence[str]) -> str:
    """Cards side by side, as many as there is room for."""
    return f'<div class="cards">{"".join(items)}</div>'


def card(title: str, about: str, content: str) -> str:
    """A titled card of HTML."""
    words = f'<p class="soft">{escape(about)}</p>' if about else ""
    return f'<article class="card"><h3>{escape(title)}</h3>{words}{content}</article>'


def tiles(items: Sequence[tuple[str, str]]) -> str:
    """Large figures: ``(figure, what it is)``."""
    made = "".join(
        f'<div class="card tile"><b>{escape(figure)}</b><span>{escape(name)}</span></div>'
        for figure, name in items
    )
    return f'<div class="tiles">{made}</div>'


def legend(names: Sequence[tuple[str, int]]) -> str:
    """Names with the numbers of their colours."""
    made = "".join(
        f'<li class="s{number}"><i></i><span>{escape(name)}</span></li>' for name, number in names
    )
    return f'<ul class="legend">{made}</ul>'


def table(head: Sequence[str], rows: Sequence[Sequence[str | tuple[str, str, bool]]]) -> str:
    """A table that scrolls by itself where it is too wide; a cell may be (text, small, best)."""

    def cell(value: str | tuple[str, str, bool]) -> str:
        if isinstance(value, str):
            return f"<td>{escape(value)}</td>"
        text, small, best = value
        shown = f"<mark>{escape(text)}</mark>" if best else escape(text)
        return f"<td>{shown}<small>{escape(small)}</small></td>"

    lines = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="card wide"><table><tr>{names}</tr>{lines}</table></div>'


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names, as plain text, and what they are, as HTML."""
    return (
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{what}</dd>" for name, what in rows) + "</dl>"
    )
