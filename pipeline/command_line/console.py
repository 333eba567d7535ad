"""Printing of results: tables for people, JSON for programs.

Commands print by these functions alone: whatever a text of the user's holds, a terminal does not
obey it.
"""

import base64
import json
import math
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from pipeline.command_line.screen import cells, json_escaped, padded, printable
from transforms.errors import AlbeamError


def say(line: str = "") -> None:
    """Print one line of a result; raises AlbeamError if stdout can't be written."""
    _print(printable(line))


def tell(line: str, stream: TextIO | None = None) -> None:
    """Print one line of progress, or a notice, to stderr or another stream at once."""
    print(printable(line), file=stream or sys.stderr, flush=True)


def note(text: str) -> None:
    """Print what the user should know besides the result, to stderr."""
    tell(f"note: {text}")


def print_json(value: Any) -> None:
    """Print one line of `json_text`; it is ASCII unless stdout takes any character."""
    _print(json_escaped(json_text(value, ascii=not _is_unicode())))


def json_text(value: Any, ascii: bool = False) -> str:
    """Return JSON: bytes as base64, NaN and infinity as null, other values as text."""
    return json.dumps(_finite(value), default=_as_text, ensure_ascii=ascii, allow_nan=False)


def _print(line: str) -> None:
    try:
        print(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> AlbeamError:
    """Return the error of a stdout that can't be written."""
    return AlbeamError("stdout", None, f"can't be written: {error.strerror}", "Write elsewhere")


def _is_unicode() -> bool:
    # A stream in memory has no encoding.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return encoding.lower().startswith(("utf", "u8"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their names, in columns as wide as their longest cell."""
    lines = [[printable(cell) for cell in row] for row in (names, *rows)]
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(map(padded, line, widths)).rstrip())


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two aligned columns."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")


def counted(number: int, name: str) -> str:
    """Return a number with its noun: ``1 file``, ``1,000 files``."""
    return f"{number:,} {name}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Return a duration as people read it: 75 is ``1m15s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def format_number(value: float | None, form: str) -> str:
    """Return a number in a format; None is a dash."""
    return "-" if value is None else format(value, form)


def format_recalls(recall: float, of_questions: float | None) -> str:
    """Return the recall of an index, and its recall of questions if that was measured."""
    measured = "" if of_questions is None else f", of questions {of_questions:.3f}"
    return f"recall@10 {recall:.3f}{measured}"
