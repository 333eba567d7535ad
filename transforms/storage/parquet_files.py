"""Open Parquet files: pages and rows are checked, and errors name the file."""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import AlbeamError, BadInput, Damaged, first_line
from transforms.storage import filesystem, remedies
from transforms.storage.file_columns import FileColumns

#: The most row groups of a file of which the size of a column is asked.
_ASKED_GROUPS = 32
#: The size of a file that is not read: larger than any offset in a footer.
_PLENTY = 2**62


class CheckedFile(pq.ParquetFile):
    """A Parquet file that raises an ArrowException or OSError instead of losing or changing rows.

    Page checksums are verified where a file has them. The rows of each row group are counted:
    Arrow skips pages that it does not know, such as those with a damaged header.

    Attributes:
        group_rows: the number of rows of each row group, by the footer.
    """

    def __init__(self, source: Any) -> None:
        """Read the footer of ``source``, a path or an open file."""
        super().__init__(source, page_checksum_verification=True)
        metadata = self.metadata
        rows = tuple(metadata.row_group(group).num_rows for group in range(self.num_row_groups))
        if sum(rows) != metadata.num_rows or min(rows, default=0) < 0:
            raise pa.ArrowInvalid(
                f"its footer says that it has {metadata.num_rows} rows, and {sum(rows)} in "
                "its row groups"
            )
        self.group_rows: tuple[int, ...] = rows

    @cached_property
    def columns(self) -> FileColumns:
        """The columns of the file."""
        return FileColumns.of(self.schema_arrow)

    def check_single(self, names: Iterable[str]) -> None:
        """Raise an ArrowException if the file has several columns of one of the names."""
        for name in names:
            if self.columns.times(name) > 1:
                raise pa.ArrowInvalid(f"it has {self.columns.times(name)} columns {name!r}")

    def read(self, *args: Any, **kwargs: Any) -> pa.Table:
        """Read columns of all row groups; see `pyarrow.parquet.ParquetFile.read`."""
        return _counted(super().read(*args, **kwargs), self.metadata.num_rows, "the file")

    def read_row_group(self, i: int, *args: Any, **kwargs: Any) -> pa.Table:
        """Read columns of one row group."""
        table = super().read_row_group(i, *args, **kwargs)
        return _counted(table, self.group_rows[i], f"row group {i}")

    def iter_batches(
        self, batch_size: int = 65_536, row_groups: Sequence[int] | None = None, **kwargs: Any
    ) -> Iterator[pa.RecordBatch]:
        """Yield columns of row groups in batches; the error comes after the last batch."""
        groups = range(self.num_row_groups) if row_groups is None else row_groups
        rows = 0
        for batch in super().iter_batches(batch_size, groups, **kwargs):
            rows += batch.num_rows
            yield batch
        _check_rows(rows, sum(self.group_rows[group] for group in groups), "the row groups")

    def iter_leaves(
        self, batch_size: int, group: int, leaves: Sequence[int]
    ) -> Iterator[pa.RecordBatch]:
        """Yield a row group in batches, with columns by the numbers of their leaves in the file.

        Names may occur twice, or may not be UTF-8; numbers are always right.
        """
        rows = 0
        for batch in self.reader.iter_batches(batch_size, [group], column_indices=list(leaves)):
            rows += batch.num_rows
            yield batch
        _check_rows(rows, self.group_rows[group], f"row group {group}")

    # pyarrow's own methods, by which it finds columns, fail if a name is not UTF-8.
    def _build_nested_paths(self) -> dict[str, list[int]]:
        return {}

    def _get_column_indices(
        self, column_names: Sequence[str] | None, use_pandas_metadata: bool = False
    ) -> list[int] | None:
        assert not use_pandas_metadata
        if column_names is None:
            return None
        return [leaf for name in column_names for leaf in self.columns.leaves_of(name)]


class _Unread(Exception):
    """What a `_Blank` raises when it is read."""


class _Blank(io.RawIOBase):
    """A file that has a size and can't be read."""

    def __init__(self, size: int) -> None:
        self._size, self._place = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002
        raise _Unread


def uncompressed_sizes(file: CheckedFile, leaf: int) -> list[int]:
    """Estimate the uncompressed bytes of a column in each row group, from the footer alone.

    A few row groups are asked. The others are taken to have the same share of bytes.

    Args:
        file: the file.
        leaf: the number of the column's leaf.

    Raises:
        pa.ArrowException, OSError: the footer of the column can't be read.
    """
    count = file.num_row_groups
    totals = [max(file.metadata.row_group(group).total_byte_size, 1) for group in range(count)]
    asked = range(0, count, -(-count // _ASKED_GROUPS) or 1)
    # Arrow ends the process on an odd or encrypted column unless it opens the column to read it.
    # A file without content stops it after it has opened the column.
    blank = pq.ParquetReader()
    blank.open(pa.PythonFile(_Blank(_PLENTY), mode="r"), metadata=file.metadata)
    sizes = {}
    for group in asked:
        with contextlib.suppress(_Unread):
            blank.read_row_group(group, column_indices=[leaf], use_threads=False)
        size = file.metadata.row_group(group).column(leaf).total_uncompressed_size
        sizes[group] = min(max(size, 0), totals[group])
    share = sum(sizes.values()) / max(sum(totals[group] for group in asked), 1)
    return [sizes.get(group, int(share * total)) for group, total in enumerate(totals)]


def _counted(table: pa.Table, rows: int, what: str) -> pa.Table:
    if table.num_columns:
        _check_rows(table.num_rows, rows, what)
    return table


def _check_rows(found: int, promised: int, what: str) -> None:
    if found != promised:
        raise pa.ArrowInvalid(f"{what} has {found} of {promised} rows; it is damaged")


def open_parquet(url: str) -> Any:
    """Open a store's Parquet file and read its footer; the rest is checked when it is read."""
    with reading(url):
        return CheckedFile(filesystem.open_input(url))


def reading(url: str) -> AbstractContextManager[None]:
    """Turn errors in a block that reads a store's Parquet file into Damaged."""
    return _reading(partial(Damaged, "file", url), remedies.EMBED_AGAIN, remedies.EMBED_AGAIN)


def reading_input(url: str, option: str) -> AbstractContextManager[None]:
    """Turn errors in a block that reads a user's Parquet file into BadInput."""
    return _reading(partial(BadInput, option, url), "Check the path", "Replace it")


@contextmanager
def _reading(
    make_error: Callable[[str, str], AlbeamError], if_missing: str, if_broken: str
) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, ConnectionError):
        raise
    except FileNotFoundError as error:
        raise make_error("is missing", if_missing) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # Names of columns that are not UTF-8 are the bytes that can't be decoded.
        reason = first_line(error)
        raise make_error(f"can't be read as Parquet: {reason}", if_broken) from error
