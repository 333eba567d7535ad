"""A small, evenly spread sample of an input, embedded and written to estimate the whole run."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Slice
from transforms.catalog.segment import PartInfo
from transforms.encoder.encoding import PassageEncoder
from transforms.ingest.embed_passages import embed_passages
from transforms.ingest.options import PassageOptions
from transforms.ingest.part_tables import Chunk, count_tokens, mark_chunk
from transforms.ingest.part_writer import PartWriter
from transforms.ingest.passages import split_passages
from transforms.ingest.read_parts import read_slices
from transforms.ingest.survey import Survey, slices_of
from transforms.models.tokenizer import Tokenizer
from transforms.storage.schema import REJECT

_GROUPS, _ROWS = 16, 1_024
_PASSAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Sample:
    """The measurements of a sample.

    Attributes:
        rows: input rows in the sample.
        rejected: the rows of those that can't be embedded.
        passages: the passages of the other rows.
        tokens: the tokens of the passages, including special tokens.
        part: the file that was written from the embedded passages.
        seconds: how long it took to embed those; 0 if no row can be embedded.
    """

    rows: int
    rejected: int
    passages: int
    tokens: int
    part: PartInfo
    seconds: float


def take_sample(
    survey: Survey,
    tokenizer: Tokenizer,
    options: PassageOptions,
    encoder: PassageEncoder,
    form: PartFormat,
    seconds: float,
) -> Sample:
    """Read up to 1,024 rows of up to 16 row groups, and embed their passages for some seconds."""
    table = pa.concat_tables(read_slices(survey, *even_slices(survey)))
    passages = split_passages(table, tokenizer, options)
    good = passages.filter(pc.is_null(passages.column(REJECT)))
    if good.num_rows:
        # Shuffled, so that the first ones represent all of them.
        order = np.random.default_rng(0).permutation(good.num_rows)
        chunks, spent = _embed(good.take(pa.array(order)), encoder, seconds)
    else:
        chunks, spent = [embed_passages(passages, encoder)], 0.0
    with tempfile.TemporaryDirectory(prefix="albeam-plan-") as folder:
        writer = PartWriter(SegmentPaths(folder, "sample"), 0, form)
        writer.write(mark_chunk(pa.concat_tables(chunks), Chunk(0, 0, last=True)))
        part = writer.finish()
    return Sample(
        rows=table.num_rows,
        rejected=passages.num_rows - good.num_rows,
        passages=good.num_rows,
        tokens=count_tokens(good),
        part=part,
        seconds=spent,
    )


def even_slices(survey: Survey) -> Iterator[Slice]:
    """Yield slices of row groups that are spread evenly over the input."""
    pieces = list(slices_of(survey))
    count = min(len(pieces), _GROUPS)
    for place in np.linspace(0, len(pieces) - 1, count).astype(int):
        piece = pieces[place]
        yield replace(piece, stop=min(piece.stop, _ROWS // count))


def _embed(
    table: pa.Table, encoder: PassageEncoder, seconds: float
) -> tuple[list[pa.Table], float]:
    """Embed chunks for some seconds; return them and the time they took without the warm-up."""
    chunks = [embed_passages(table.slice(0, _PASSAGES_AT_ONCE), encoder)]
    # The first call was the warm-up: it compiles and allocates.
    started = time.perf_counter()
    chunks = [embed_passages(table.slice(0, _PASSAGES_AT_ONCE), encoder)]
    for first in range(_PASSAGES_AT_ONCE, table.num_rows, _PASSAGES_AT_ONCE):
        if time.perf_counter() - started > seconds:
            break
        chunks.append(embed_passages(table.slice(first, _PASSAGES_AT_ONCE), encoder))
    return chunks, time.perf_counter() - started
