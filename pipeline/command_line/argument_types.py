"""Types of command-line values."""

import argparse
import re


def byte_count(text: str) -> int:
    """``500MB`` as a number; a bare number counts bytes."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?B?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give one such as 500MB or 8GB")
    power = "KMGT".find(match[2][:1].upper()) + 1 if match[2][:1].upper() in "KMGT" else 0
    return int(float(match[1]) * 1000**power)


def shard_count(text: str) -> int:
    """Parse a number of shards; ``auto`` is 0."""
    if text == "auto":
        return 0
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of shards; give 1, 2 or auto")
    return int(text)


def whole_number(value: str) -> int:
    """Parse a whole number from 0."""
    try:
        number = int(value)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 0")
    return number


def seconds(value: str) -> float:
    """An age such as 7d, 12h, 30m, 45s or 0, in seconds."""
    number, unit = (value[:-1], value[-1:]) if value[-1:] in _SECONDS else (value, "s")
    try:
        age = float(number) * _SECONDS[unit]
    except ValueError:
        age = -1.0
    if not 0 <= age < float("inf"):
        raise argparse.ArgumentTypeError(f"{value!r} is not an age such as 7d, 12h, 30m, 45s or 0")
    return age


_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
