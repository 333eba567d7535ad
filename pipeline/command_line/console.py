"""Print results: tables for people, JSON for programs."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any


def print_json(value: Any) -> None:
    """One line of JSON; bytes in base64, other non-JSON values as text, NaN and infinity null."""
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


def format_recalls(summary: Any) -> str:
    """Format the recall of an index, and that of questions where it was measured."""
    """Recall of stored vectors, and of questions where search is not exact."""
    asked = summary.recall_of_questions
    of_questions = "" if asked is None else f", of questions {asked:.3f}"
    return f"recall@10 {summary.recall:.3f}{of_questions}"


def counted(number: int, name: str) -> str:
    """``1,000 files``, or ``1 file``."""
    return f"{number:,} {name}" + ("" if number == 1 else "s")


def format_number(value: float | None, form: str) -> str:
    """Format a number with thousands separators; None is a dash."""
    return "-" if value is None else format(value, form)


def format_cells(snapshot: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Format the values of a table row."""
    shown = snapshot | {
        "segments": len(snapshot["segments"]),
        "rejects": sum(snapshot["rejects"].values()),
    }
    return [str(shown[name]) for name in names]


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns as wide as they need to be, under their names."""
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


def duration(seconds: float) -> str:
    """``75`` as ``1m15s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
