"""The metadata of a bundle that its program compares: columns of Parquet, in the order of rows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt


class MetadataFile:
    """Writes ``metadata.parquet``.

    Attributes:
        not_compared: the names of the other columns, and their types.
    """

    def __init__(self, folder: Path, columns: pa.Schema) -> None:
        """Begin the file; ``columns`` are the ids of documents, and all metadata."""
        kinds = {field.name: _compared_as(field.type) for field in columns}
        fields = [pa.field(name, kind) for name, kind in kinds.items() if kind is not None]
        self._schema = pa.schema(fields)
        self.not_compared = {
            field.name: str(field.type) for field in columns if kinds[field.name] is None
        }
        self._writer = pq.ParquetWriter(
            folder / "metadata.parquet", self._schema, compression="zstd"
        )

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        columns = [table.column(field.name).cast(field.type, safe=False) for field in self._schema]
        self._writer.write_table(pa.table(columns, self._schema))

    def close(self) -> None:
        """End the file."""
        self._writer.close()


def _compared_as(kind: pa.DataType) -> pa.DataType | None:
    """Return the type in which a column is compared; None if it isn't."""
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_date64(kind):
        return pa.date32()
    if pt.is_float16(kind):
        return pa.float32()
    plain = (
        pt.is_boolean,
        pt.is_integer,
        pt.is_floating,
        pt.is_decimal128,
        pt.is_date,
        pt.is_timestamp,
    )
    return kind if any(test(kind) for test in plain) else None
