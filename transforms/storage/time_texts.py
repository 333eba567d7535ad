"""Dates and times as text: also those that Python can't hold, in both directions.

Years are those of ISO 8601: the year 1 BC is ``0000``, and 2 BC is ``-0001``.
"""

import re

import pyarrow as pa
import pyarrow.types as pt

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY = 86_400
#: Days from the first of March of the year 0, at which a cycle of 400 years starts, to 1970.
_EPOCH = 719_468
_DAYS_OF_CYCLE = 146_097
_TEXT = re.compile(
    r"(?:(?P<year>-?\d{4,})-(?P<month>\d\d)-(?P<day>\d\d))?[ T]?"
    r"(?:(?P<sign>-?)(?P<hour>\d{2,}):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<part>\d{1,9}))?)?Z?"
)


def time_text(value: int, kind: pa.DataType) -> str:
    """Return a date, a time, a timestamp (in UTC if it has a zone) or a duration as text.

    Args:
        value: the number that Arrow holds.
        kind: its type.
    """
    if pt.is_date32(kind):
        return _date_text(value)
    if pt.is_duration(kind):
        return f"{value} {kind.unit}"
    unit = "ms" if pt.is_date64(kind) else kind.unit
    seconds, part = divmod(value, PER_SECOND[unit])
    if pt.is_time(kind):
        sign = "-" if value < 0 else ""
        return sign + _clock_text(*divmod(abs(value), PER_SECOND[unit]), unit)
    days, seconds = divmod(seconds, _DAY)
    if pt.is_date64(kind) and not seconds and not part:
        return _date_text(days)
    zone = "Z" if pt.is_timestamp(kind) and kind.tz is not None else ""
    return f"{_date_text(days)} {_clock_text(seconds, part, unit)}{zone}"


def time_number(text: str, kind: pa.DataType) -> int | None:
    """Return the number that Arrow holds for a text of `time_text`; None for another text."""
    if pt.is_duration(kind):
        value, _, unit = text.partition(" ")
        return int(value) if unit == kind.unit and re.fullmatch(r"-?\d+", value) else None
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    days = 0
    if found["year"] is not None:
        days = _days_of(int(found["year"]), int(found["month"]), int(found["day"]))
    if pt.is_date32(kind):
        return days
    per_second = PER_SECOND["ms" if pt.is_date64(kind) else kind.unit]
    clock = 0
    if found["hour"] is not None:
        seconds = int(found["hour"]) * 3_600 + int(found["minute"]) * 60 + int(found["second"])
        part = int((found["part"] or "0").ljust(9, "0")) * per_second // PER_SECOND["ns"]
        clock = seconds * per_second + part
    return days * _DAY * per_second + (-clock if found["sign"] else clock)


def _date_text(days: int) -> str:
    year, month, day = _civil_of(days)
    years = f"{year:04d}" if year >= 0 else f"-{-year:04d}"
    return f"{years}-{month:02d}-{day:02d}"


def _clock_text(seconds: int, part: int, unit: str) -> str:
    digits = len(str(PER_SECOND[unit])) - 1
    fraction = f".{part:0{digits}d}" if digits else ""
    return f"{seconds // 3_600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


def _civil_of(days: int) -> tuple[int, int, int]:
    """Return year, month and day of a number of days since 1970, in the Gregorian calendar."""
    cycle, day = divmod(days + _EPOCH, _DAYS_OF_CYCLE)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    # Months count from March, so that the leap day is the last one of a year.
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    return year + 400 * cycle + (month <= 2), month, day + 1


def _days_of(year: int, month: int, day: int) -> int:
    """Return the inverse of `_civil_of`."""
    year -= month <= 2
    cycle, year = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return cycle * _DAYS_OF_CYCLE + 365 * year + year // 4 - year // 100 + of_year - _EPOCH
