"""Text on a screen: control characters are escaped, and a character has its width in columns."""

import re
import shutil
from collections.abc import Iterator

#: The narrowest and the widest lines in which a text is shown.
_NARROWEST, _WIDEST = 16, 100
#: An edge of a line may move back by its length divided by this, to the nearest blank.
_REACH = 3
_MORE = " …"
_JOINER = "\u200d"
#: What a terminal may obey, and what breaks or reorders a line: C0, DEL and C1, line separators,
#: overrides of the direction, and half a pair of UTF-16, which no encoding has.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_IN_LINES = re.compile(f"(?![\n\t])[{_CONTROLS}]")


def printable(text: str) -> str:
    r"""Return a text with its control characters as escapes, such as ``\x1b`` and ``\n``."""
    return _CONTROL.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Return a text as `printable` does, but with its line ends and tabs."""
    return _CONTROL_IN_LINES.sub(_escape, text)


def json_escaped(text: str) -> str:
    """Return JSON text with the control characters that JSON allows as its escapes."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def columns() -> int:
    """Return how many columns of the terminal a line may take, whatever its width."""
    return max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))


def cells(text: str) -> int:
    """Return how many columns a text takes."""
    # Not at import: a command's help needs no library.
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """Return a text with blanks up to a width in columns."""
    return text + " " * (width - cells(text))


def excerpt(text: str, width: int, most: int) -> list[str]:
    """Return the beginning of a text as at most ``most`` lines of at most ``width`` columns.

    A line ends at a blank if one is near, else between two characters. White space becomes one
    blank, and other control characters are escaped.
    """
    rest = printable(" ".join(text.split()))
    lines: list[str] = []
    while rest and len(lines) < most:
        if len(lines) == most - 1 and not _fits(rest, width):
            lines.append(rest[: _edge(rest, width - len(_MORE))].rstrip() + _MORE)
            break
        edge = _edge(rest, width)
        lines.append(rest[:edge].rstrip())
        rest = rest[edge:].lstrip()
    return lines


def _fits(text: str, width: int) -> bool:
    # No character is wider than two columns, but many may have none.
    return len(text) <= width // 2 or _hard_edge(text, width) == len(text)


def _edge(text: str, width: int) -> int:
    """Return where a line that begins a text ends, in characters."""
    hard = _hard_edge(text, width)
    if hard == len(text) or text[hard] == " ":
        return hard
    blank = text.rfind(" ", 0, hard)
    return blank if blank > 0 and cells(text[blank:hard]) <= width // _REACH else hard


def _hard_edge(text: str, width: int) -> int:
    """Return how many characters fit; marks stay with their letter."""
    end = taken = 0
    for piece in _clusters(text):
        taken += sum(map(cells, piece))
        # A line holds at least one letter, so that the rest gets shorter.
        if taken > width and end:
            break
        end += len(piece)
    return end


def _clusters(text: str) -> Iterator[str]:
    """Yield letters with the marks and joined characters that follow them."""
    start = 0
    for place in range(1, len(text)):
        if cells(text[place]) and text[place - 1] != _JOINER:
            yield text[start:place]
            start = place
    if text:
        yield text[start:]
