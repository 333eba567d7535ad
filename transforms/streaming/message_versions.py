"""Versions of messages: the newest row of each document, and the rows that a journal lacks."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from transforms.catalog.plan import Slice
from transforms.ingest.read_parts import read_columns
from transforms.ingest.survey import Survey, slices_of
from transforms.storage.schema import ROW
from transforms.streaming.journal import JournalState

#: The column of a message's version; the greatest version of a document counts.
VERSION = "_version"


class Newest(NamedTuple):
    """The newest message of a document: its version, its place, and whether it deletes."""

    version: int
    file: int
    row: int
    deleted: bool


def newest_rows(survey: Survey) -> dict[str, Newest]:
    """Return the newest message of each document in files of `LandMessages`, by document id."""
    newest: dict[str, Newest] = {}
    for file, pieces in groupby(slices_of(survey), lambda piece: piece.file):
        for table in _read(survey, *pieces):
            for name, row, version, deleted in zip(
                *(column.to_pylist() for column in table.columns), strict=True
            ):
                if name not in newest or version > newest[name].version:
                    newest[name] = Newest(version, file, row, deleted)
    return newest


def without_known(state: JournalState, newest: dict[str, Newest]) -> dict[str, Newest]:
    """Return the messages with a version above the one that the journal has."""
    known = state.versions_of(newest)
    return {
        name: each
        for name, each in newest.items()
        if name not in known or each.version > known[name]
    }


def rows_to_embed(survey: Survey, newest: Iterable[Newest]) -> list[BitMap64]:
    """Return for each file the rows of the messages that bring a document."""
    rows = [BitMap64() for _ in survey.files]
    for each in newest:
        if not each.deleted:
            rows[each.file].add(each.row)
    return rows


def _read(survey: Survey, *pieces: Slice) -> Iterator[pa.Table]:
    """Yield ``document_id, _row, version, deleted``."""
    columns = survey.columns
    names = [columns.id_column, VERSION, columns.text_column]
    for table in read_columns(survey, names, *pieces):
        name, version, text = (table.column(number) for number in range(3))
        yield pa.table(
            {
                "document_id": name,
                ROW: table.column(ROW),
                "version": version,
                "deleted": pc.is_null(text),
            }
        )
