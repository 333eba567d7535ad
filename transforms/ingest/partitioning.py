"""Input files become parts: which rows make which output file.

Parts are planned from Parquet footers alone. A part takes consecutive rows; it may join row groups
and files, and a row group may be split among parts.
"""

import base64
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap, BitMap64

from transforms.catalog.plan import Part, Plan, Slice
from transforms.ingest.survey import RowGroup, Survey

#: Rows of a part at least and at most, where a part's size is chosen.
FEWEST_ROWS, MOST_ROWS = 512, 65_536
#: Uncompressed text bytes of a part at most.
MOST_TEXT_BYTES = 256 << 20
_SECONDS_PER_PART = 30
_BYTES_PER_TOKEN = 4


def plan_parts(
    survey: Survey,
    rows_per_part: int | None,
    rate: float,
    chosen: Sequence[BitMap64] | None = None,
) -> Plan:
    """Plan the parts of an input.

    Args:
        survey: of its footers.
        rows_per_part: rows of a part, or None to choose.
        rate: tokens a second that a worker is expected to embed; used to choose.
        chosen: which rows of each file are to be embedded; all without.
    """
    text_bytes = sum(group.text_bytes for file in survey.groups for group in file)
    limit = rows_per_part or choose_rows_per_part(survey.rows, text_bytes, rate)
    parts = tuple(cut_parts(survey.groups, limit, MOST_TEXT_BYTES, chosen))
    return Plan(survey.files, survey.columns, survey.schema, parts)


def choose_rows_per_part(rows: int, text_bytes: int, rate: float) -> int:
    """Rows that take about half a minute at ``rate`` tokens a second, within the bounds."""
    tokens_per_row = max(text_bytes / rows / _BYTES_PER_TOKEN, 1.0)
    return int(min(max(_SECONDS_PER_PART * rate / tokens_per_row, FEWEST_ROWS), MOST_ROWS))


def cut_parts(
    groups: Sequence[Sequence[RowGroup]],
    rows: int,
    text_bytes: int,
    chosen: Sequence[BitMap64] | None = None,
) -> Iterator[Part]:
    """Cut the row groups of files into parts of at most ``rows`` rows and ``text_bytes`` bytes.

    A row is never cut, so one row may exceed the bytes. Of each file the ``chosen`` rows count
    alone, by their numbers in it; all without.
    """
    number = 0
    pieces: list[Slice] = []
    free_rows, free_bytes = rows, float(text_bytes)
    for file, file_groups in enumerate(groups):
        first_row = 0
        for index, group in enumerate(file_groups):
            wanted = _chosen_of(group, first_row, chosen[file] if chosen is not None else None)
            per_row = group.text_bytes / group.rows if group.rows else 0.0
            start = 0
            while start < len(wanted):
                rest = len(wanted) if free_bytes > 0 else 0
                fitting = int(free_bytes / per_row) if per_row else rest
                count = min(len(wanted) - start, free_rows, max(fitting, 0 if pieces else 1))
                if count:
                    pieces.append(_slice(file, index, wanted[start : start + count], first_row))
                    start += count
                    free_rows -= count
                    free_bytes -= count * per_row
                if start < len(wanted) or not free_rows:
                    yield Part(number, tuple(pieces))
                    number, pieces = number + 1, []
                    free_rows, free_bytes = rows, float(text_bytes)
            first_row += group.rows
    if pieces:
        yield Part(number, tuple(pieces))


def _chosen_of(group: RowGroup, first: int, chosen: BitMap64 | None) -> npt.NDArray[np.int64]:
    if chosen is None:
        return np.arange(group.rows)
    inside = chosen & BitMap64(range(first, first + group.rows))
    return np.fromiter(inside, np.int64, len(inside)) - first


def _slice(file: int, group: int, rows: npt.NDArray[np.int64], first_row: int) -> Slice:
    start, stop = int(rows[0]), int(rows[-1]) + 1
    mask = ""
    if stop - start > len(rows):
        bitmap = BitMap((rows - start).tolist())
        bitmap.run_optimize()
        mask = base64.b64encode(bitmap.serialize()).decode()
    return Slice(file, group, start, stop, first_row + start, mask)
