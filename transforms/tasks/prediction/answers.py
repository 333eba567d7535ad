"""Answer questions in bulk: a row for each question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.storage.schema import FILE, HASH, REJECT, ROW, TOKEN_FIELD, TOKENS
from transforms.tasks.networks.text_reader import FoundAnswer, TextReader

#: Metadata columns of an input of questions: the id of a question, and that of its passage.
QUESTION_ID, PASSAGE_ID = "question_id", "passage_id"
#: The columns of a file of answers. Start and end count code points of the passage.
_SCHEMA: pa.Schema = pa.schema(
    [
        ("question_id", pa.string()),
        ("answer", pa.string()),
        ("score", pa.float32()),
        ("document_id", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
    ]
)
#: What `ReadParts` says of a question that is missing: it is read as the id of its row.
_REASONS = {
    "null id": "null question",
    "id is not UTF-8": "question is not UTF-8",
    **{f"{what} text": f"{what} passage" for what in ("null", "empty", "blank")},
    "text is not UTF-8": "passage is not UTF-8",
}


@dataclass(frozen=True)
class AnswerFormat:
    """The format of files of answers.

    Attributes:
        vector_dtype: of vectors, which they don't have.
    """

    vector_dtype: str = "float32"

    @property
    def schema(self) -> pa.Schema:
        """Return the schema."""
        return _SCHEMA


def predict_answers(table: pa.Table, reader: TextReader) -> pa.Table:
    """Answer the questions of a chunk.

    Args:
        table: rows, as `ReadParts` gives them: a question as ``document_id``, its passage as
            ``text``, and `QUESTION_ID` and `PASSAGE_ID` if the input has them.
        reader: the reader.

    Returns:
        The rows with the columns of `AnswerFormat` and the source columns. A question without an
        answer has null in all but its ids. The mark of the chunk is kept.
    """
    questions, passages = (table.column(n).to_pylist() for n in ("document_id", "text"))
    identities = _identities(table)
    reasons = [
        _reason(*row)
        for row in zip(table.column(REJECT).to_pylist(), questions, identities, strict=True)
    ]
    found: list[FoundAnswer | None] = [None] * table.num_rows
    good = np.flatnonzero([reason is None for reason in reasons]).tolist()
    answers = reader.answers([questions[row] for row in good], [passages[row] for row in good])
    for row, answer in zip(good, answers, strict=True):
        found[row] = answer
    documents = pa.nulls(table.num_rows, pa.string())
    if PASSAGE_ID in table.column_names:
        documents = table.column(PASSAGE_ID).cast(pa.string())
    names = pa.array(identities, pa.string())
    rejected = pa.array([reason is not None for reason in reasons])
    columns = {
        "question_id": names,
        **{
            name: pa.array([one and getattr(one, field) for one in found], _SCHEMA.field(name).type)
            for name, field in (
                ("answer", "text"), ("score", "score"), ("start", "start"), ("end", "end"),
            )
        },
        # The file of rejects has the id of the question in this column.
        "document_id": pc.if_else(rejected, names, documents),
        "text": pa.array([text or "" for text in passages], pa.string()),
        "text_hash": pa.nulls(table.num_rows, HASH),
        TOKENS: pa.nulls(table.num_rows, TOKEN_FIELD.type),
        FILE: table.column(FILE),
        ROW: table.column(ROW),
        REJECT: pa.array(reasons, pa.string()),
    }  # fmt: skip
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def _identities(table: pa.Table) -> list[str | None]:
    """Return the ids of questions: those of the input, or file and row."""
    if QUESTION_ID in table.column_names:
        values: list[str | None] = table.column(QUESTION_ID).cast(pa.string()).to_pylist()
        return values
    rows = zip(table.column(FILE).to_pylist(), table.column(ROW).to_pylist(), strict=True)
    return [f"{file.rpartition('/')[2]}:{row}" for file, row in rows]


def _reason(reason: str | None, question: str | None, identity: str | None) -> str | None:
    if reason is not None:
        return _REASONS.get(reason, reason)
    if not (question and question.strip()):
        return "blank question"
    return "null id" if identity is None else None
