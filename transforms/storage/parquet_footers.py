"""The footer of a Parquet file: its digest, and whether it describes the whole file.

Pages have checksums, and the footer has none. A flipped bit in it can move rows, rename a column or
point to other pages, and Arrow reads on.
"""

import hashlib
import io
import os
import struct
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"
#: The length of a footer, and the magic bytes after it.
_TAIL = 8
#: Footers are some kilobytes per row group.
_MOST_BYTES = 1 << 28


def digest_of_file(path: str) -> str:
    """Return the SHA-256 of the footer of a local file."""
    with open(path, "rb") as source:
        return digest(source)


def digest(source: Any) -> str:
    """Return the SHA-256 of the footer of an open file, with its length and the magic bytes.

    Raises:
        pa.ArrowInvalid: the file does not end with a footer.
    """
    size = source.seek(0, io.SEEK_END)
    length = 0
    if size >= _TAIL + len(_MAGIC):
        source.seek(size - _TAIL)
        length, magic = struct.unpack("<I4s", source.read(_TAIL))
    if not 0 < length <= min(size - _TAIL - len(_MAGIC), _MOST_BYTES) or magic != _MAGIC:
        raise pa.ArrowInvalid("it does not end with the footer of a Parquet file")
    source.seek(size - _TAIL - length)
    content = source.read(length + _TAIL)
    source.seek(0, os.SEEK_SET)
    return hashlib.sha256(content).hexdigest()


def check_coverage(metadata: pq.FileMetaData, size: int) -> None:
    """Check that the columns of the row groups follow each other, from the file's start.

    A footer with a changed offset or size does not pass. Files of albeam do.

    Raises:
        pa.ArrowInvalid: there is a gap, or two columns share bytes.
    """
    place = len(_MAGIC)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            column = group.column(index)
            first = column.data_page_offset
            if column.has_dictionary_page:
                first = min(first, column.dictionary_page_offset)
            if first != place or column.num_values < 0:
                raise pa.ArrowInvalid(f"row group {number} has a column at byte {first}")
            place += column.total_compressed_size
    if place + metadata.serialized_size + _TAIL > size:
        raise pa.ArrowInvalid(f"its columns end at byte {place}, behind its footer")
