"""Partitioning: which input rows go into which part.

Parts are planned from Parquet footers only. A part takes consecutive rows. It may join row groups
and files, and several parts may share a row group.
"""

import base64
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap, BitMap64

from transforms.catalog.plan import Part, Plan, Slice
from transforms.ingest.survey import RowGroup, Survey

#: The fewest and the most rows of a part, if its size is chosen automatically.
FEWEST_ROWS, MOST_ROWS = 512, 65_536
#: The most uncompressed bytes of text in a part.
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
        survey: the survey of the input.
        rows_per_part: rows of a part; None to choose automatically.
        rate: the expected tokens per second of a worker, for the automatic choice.
        chosen: the rows of each file to embed; None for all.
    """
    text_bytes = sum(group.text_bytes for file in survey.groups for group in file)
    limit = rows_per_part or choose_rows_per_part(survey.rows, text_bytes, rate)
    parts = tuple(cut_parts(survey.groups, limit, MOST_TEXT_BYTES, chosen))
    return Plan(survey.files, survey.columns, survey.schema, parts)


def choose_rows_per_part(rows: int, text_bytes: int, rate: float) -> int:
    """Return how many rows take about half a minute at ``rate`` tokens per second, bounded."""
    tokens_per_row = max(text_bytes / rows / _BYTES_PER_TOKEN, 1.0)
    return int(min(max(_SECONDS_PER_PART * rate / tokens_per_row, FEWEST_ROWS), MOST_ROWS))


def cut_parts(
    groups: Sequence[Sequence[RowGroup]],
    rows: int,
    text_bytes: int,
    chosen: Sequence[BitMap64] | None = None,
) -> Iterator[Part]:
    """Cut the row groups of files into parts of at most ``rows`` rows and ``text_bytes`` bytes.

    A row is never split, so a single row may exceed ``text_bytes``. ``chosen`` holds for each file
    the numbers of the rows to take; without it all rows are taken.
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


def _chosen_of(
    group: RowGroup, first: int, chosen: BitMap64 | None
) -> npt.NDArray[np.int64] | range:
    if chosen is None:
        return range(group.rows)
    inside = chosen & BitMap64(range(first, first + group.rows))
    return np.fromiter(inside, np.int64, len(inside)) - first


def _slice(file: int, group: int, rows: npt.NDArray[np.int64] | range, first_row: int) -> Slice:
    start, stop = int(rows[0]), int(rows[-1]) + 1
    mask = ""
    if stop - start > len(rows):
        bitmap = BitMap((np.asarray(rows) - start).tolist())
        bitmap.run_optimize()
        mask = base64.b64encode(bitmap.serialize()).decode()
    return Slice(file, group, start, stop, first_row + start, mask)
