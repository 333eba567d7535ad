"""Find the entities of documents in bulk: a row for each entity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.storage.schema import EMPTY, FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS
from transforms.tasks.networks.text_tagger import Entity, TextTagger

#: The columns of a file of entities. Start and end count code points of the document's text.
_SCHEMA: pa.Schema = pa.schema(
    [
        ("document_id", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("type", pa.string()),
        ("text", pa.string()),
        ("score", pa.float32()),
    ]
)


@dataclass(frozen=True)
class EntityFormat:
    """The format of files of entities.

    Attributes:
        vector_dtype: of vectors, which they don't have.
    """

    vector_dtype: str = "float32"

    @property
    def schema(self) -> pa.Schema:
        """Return the schema."""
        return _SCHEMA


def predict_entities(table: pa.Table, tagger: TextTagger) -> pa.Table:
    """Find the entities of the documents of a chunk.

    Args:
        table: documents, as `ReadParts` gives them.
        tagger: the tagger.

    Returns:
        A row for each entity, in the order of the documents, with the columns of `EntityFormat` and
        the source columns. A document without one has a row in which ``_empty`` is true. The mark
        of the chunk is kept.
    """
    good = np.flatnonzero(pc.is_null(table.column(REJECT)).to_numpy())
    found: list[list[Entity]] = [[] for _ in range(table.num_rows)]
    texts = table.column("text").take(pa.array(good)).to_pylist()
    for row, entities in zip(good.tolist(), tagger.entities(texts), strict=True):
        found[row] = entities
    rows = np.repeat(np.arange(table.num_rows), [max(1, len(each)) for each in found])
    every: list[Entity | None] = []
    for each in found:
        every += each or [None]
    source = table.select(["document_id", FILE, ROW, REJECT]).take(pa.array(rows))
    columns = {
        "document_id": source.column("document_id"),
        **{
            name: pa.array([one and getattr(one, name) for one in every], _SCHEMA.field(name).type)
            for name in ("start", "end", "type", "text", "score")
        },
        "text_hash": pa.nulls(len(every), HASH),
        TOKENS: pa.nulls(len(every), TOKEN_FIELD.type),
        FILE: source.column(FILE),
        ROW: source.column(ROW),
        REJECT: source.column(REJECT),
        EMPTY: pa.array([one is None for one in every]),
    }
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)
