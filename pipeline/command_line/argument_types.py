"""Types of the values on the command line."""

import argparse
import csv
import re

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_UNITS = "KMGT"


def byte_count(text: str) -> int:
    """Parse a size such as ``500MB``; a number without a unit counts bytes."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500MB or 8GB")
    power = _UNITS.index(match[2].upper()) + 1 if match[2] else 0
    return int(float(match[1]) * 1000**power)


def shard_count(text: str) -> int:
    """Parse a number of shards; ``auto`` is 0."""
    if text == "auto":
        return 0
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto or a number of shards from 1")
    return int(text)


def whole_number(text: str) -> int:
    """Parse a whole number from 0."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return number


def ids_of_text(text: str) -> list[str]:
    """Parse ids with commas between them; an id with a comma is in double quotes, as in CSV."""
    try:
        [ids] = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a line of ids: {error}") from error
    if not ids or "" in ids:
        raise argparse.ArgumentTypeError(f"{text!r} has an empty id")
    return ids


def seconds(text: str) -> float:
    """Parse an age such as 7d, 12h, 30m, 45s or 0, and return it in seconds."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _SECONDS else (text, "s")
    try:
        age = float(number) * _SECONDS[unit]
    except ValueError:
        age = -1.0
    if not 0 <= age < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an age such as 7d, 12h, 30m, 45s or 0")
    return age
