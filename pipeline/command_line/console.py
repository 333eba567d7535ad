"""Printing of results: tables for people, JSON for programs."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any


def print_json(value: Any) -> None:
    """Print one line of JSON: bytes as base64, NaN and infinity as null, other values as text."""
    print(json.dumps(_finite(value), default=_as_text, ensure_ascii=False, allow_nan=False))


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
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two aligned columns."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


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
