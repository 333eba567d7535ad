"""Arrow schemas of the tables that stages pass on.

Columns with names that start with an underscore belong to the pipeline and are never written.
"""

import pyarrow as pa

HASH = pa.binary(16)

#: The columns of a passage before embedding, in the order of a part's file.
PASSAGE_FIELDS: tuple[pa.Field, ...] = (
    pa.field("document_id", pa.string()),
    pa.field("passage", pa.int32()),
    pa.field("start", pa.int32()),
    pa.field("end", pa.int32()),
    pa.field("text", pa.string()),
    pa.field("text_hash", HASH),
    pa.field("metadata_hash", HASH),
)
#: The pipeline's own columns: input file, row in it, reason for rejection, token ids.
FILE, ROW, REJECT, TOKENS = "_file", "_row", "_reject", "_tokens"
SOURCE_FIELDS: tuple[pa.Field, ...] = (
    pa.field(FILE, pa.string()),
    pa.field(ROW, pa.int64()),
    pa.field(REJECT, pa.string()),
)
#: In some tables, whether a row only stands for a row of the input that gives none: it is counted
#: and not written.
EMPTY = "_empty"
TOKEN_FIELD: pa.Field = pa.field(TOKENS, pa.list_(pa.int32()))
VECTOR = "vector"
RESERVED = frozenset(
    [field.name for field in (*PASSAGE_FIELDS, *SOURCE_FIELDS, TOKEN_FIELD)] + [VECTOR]
)
REJECT_SCHEMA: pa.Schema = pa.schema(
    [
        ("document_id", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("text_hash", HASH),
    ]
)
#: The columns of a chunk that `REJECT_SCHEMA` names, in its order.
REJECT_COLUMNS = ("document_id", FILE, ROW, REJECT, "text_hash")
#: The reason for rejecting a text in which the tokenizer finds no token.
NO_TOKENS = "no tokens"

#: The namespace of albeam's Beam metrics.
METRICS = "albeam"
