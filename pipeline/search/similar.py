"""``albeam similar``: measure how similar pairs of texts are."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.encoder.encoding import TextEncoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.search.question_encoder import load_question_encoder
from transforms.storage import filesystem
from transforms.storage.output_files import writing
from transforms.storage.parquet_files import CheckedFile, reading_input
from transforms.tasks.prediction.similarity import similarities

FIRST, SECOND, SIMILARITY = "sentence1", "sentence2", "similarity"
#: Pairs that are embedded at once.
_AT_ONCE = 4_096


@dataclass(frozen=True)
class SimilarSummary:
    """Summary of a file of pairs.

    Attributes:
        output: the Parquet file that was written.
        pairs: its number of pairs.
        mean: the mean similarity; None without pairs.
        seconds: the duration.
    """

    output: str
    pairs: int
    mean: float | None
    seconds: float


def compare_texts(first: str, second: str, model: ModelOptions, placement: Placement) -> float:
    """Return the cosine of two texts, from -1 to 1; raises BadInput if one is blank."""
    for text in (first, second):
        if not text.strip():
            raise BadInput("text", text, "is blank", "Give two texts")
    encoder = load_question_encoder(find_model(model), placement)
    return float(similarities(encoder, [first], [second])[0])


def run(pairs: str, output: str, model: ModelOptions, placement: Placement) -> SimilarSummary:
    """Write the similarity of each pair of a Parquet file, beside the columns of the file.

    Args:
        pairs: a Parquet file with the columns ``sentence1`` and ``sentence2``.
        output: the Parquet file to write; it gets a column ``similarity``, float32.
        model: the model that embeds.
        placement: device and dtype.

    Raises:
        BadInput: a file can't be read or written, a column is missing, or a text is blank.
    """
    started = time.monotonic()
    if not output.endswith(".parquet"):
        remedy = "Give the name of a Parquet file"
        raise BadInput("output", output, "does not end in .parquet", remedy)
    output = filesystem.absolute(output)
    total, rows = 0.0, 0
    with reading_input(pairs, "pairs"), filesystem.open_input(pairs) as source:
        file = CheckedFile(source)
        schema = _schema(file, pairs)
        encoder = load_question_encoder(find_model(model), placement)
        with writing(output) as path, pq.ParquetWriter(path, schema) as writer:
            for table in _measured(file, pairs, schema, encoder):
                writer.write_table(table)
                total += float(np.sum(table.column(SIMILARITY).to_numpy(), dtype=np.float64))
                rows += table.num_rows
    mean = round(total / rows, 6) if rows else None
    return SimilarSummary(output, rows, mean, round(time.monotonic() - started, 3))


def _schema(file: CheckedFile, pairs: str) -> pa.Schema:
    """Return the schema of the output; raises BadInput for columns that can't be used."""
    file.check_single((FIRST, SECOND))
    schema = file.schema_arrow
    for name in (FIRST, SECOND):
        if name not in schema.names:
            problem = f"has no column {name!r}, only {', '.join(schema.names)}"
            raise BadInput("pairs", pairs, problem, "Rename one of them")
        kind = schema.field(name).type
        if not (pt.is_string(kind) or pt.is_large_string(kind)):
            problem = f"has a column {name!r} of type {kind}"
            raise BadInput("pairs", pairs, problem, "Convert it to text")
    if SIMILARITY in schema.names:
        problem = f"has a column {SIMILARITY!r}, which the output adds"
        raise BadInput("pairs", pairs, problem, "Rename it")
    return schema.append(pa.field(SIMILARITY, pa.float32()))


def _measured(
    file: CheckedFile, pairs: str, schema: pa.Schema, encoder: TextEncoder
) -> Iterator[pa.Table]:
    first = 0
    for batch in file.iter_batches(_AT_ONCE):
        sides: list[Any] = []
        for name in (FIRST, SECOND):
            column = batch.column(batch.schema.get_field_index(name))
            if column.null_count:
                row = first + int(np.flatnonzero(column.is_null().to_numpy(False))[0])
                problem = f"has no {name} in row {row}"
                raise BadInput("pairs", pairs, problem, "Remove the row")
            sides.append(column.to_pylist())
        found = similarities(encoder, sides[0], sides[1], first)
        columns = [*batch.columns, pa.array(found, pa.float32())]
        yield pa.Table.from_arrays(columns, schema=schema)
        first += batch.num_rows
