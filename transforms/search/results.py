"""Results of a search: hits, and tables of hits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from transforms.errors import BadInput
from transforms.storage.arrow_values import plain_column
from transforms.storage.schema import PASSAGE_FIELDS

_OWN = frozenset(field.name for field in PASSAGE_FIELDS)
_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("question", pa.string()),
    ("rank", pa.int32()),
    ("score", pa.float32()),
    ("dense", pa.float32()),
    ("lexical", pa.float32()),
    ("document_id", pa.string()),
    ("passage", pa.int32()),
    ("start", pa.int32()),
    ("end", pa.int32()),
    ("text", pa.string()),
)


@dataclass(frozen=True)
class Hit:
    """The best passage of one document.

    Attributes:
        rank: from 1.
        score: the score that ranks it; see `Store.search`.
        document_id: the document.
        passage: the passage's number in the document.
        start, end: its span in the document's text, in Unicode code points.
        text: the passage's text.
        metadata: the document's metadata columns.
        dense: the inner product of question and passage, which is the cosine if vectors are
            normalized or the mode is hybrid; None in mode lexical.
        lexical: the BM25 score; None in mode dense.
    """

    rank: int
    score: float
    document_id: str
    passage: int
    start: int
    end: int
    text: str
    metadata: dict[str, Any]
    dense: float | None = None
    lexical: float | None = None


class Answers(list[list[Hit]]):
    """The hits of each question, best first, in the order of the questions."""

    def __init__(
        self, hits: Iterable[list[Hit]], questions: Sequence[str], columns: pa.Schema
    ) -> None:
        """Hold the hits of each question; ``columns`` are the store's metadata columns."""
        super().__init__(hits)
        self._questions, self._columns = tuple(questions), columns

    def to_arrow(self) -> pa.Table:
        """Return one row per hit: the question, the hit's fields, then the metadata columns.

        A metadata column with the name of a field gets the prefix ``metadata.``.
        """
        lines = [
            (question, hit)
            for question, hits in zip(self._questions, self, strict=True)
            for hit in hits
        ]
        columns: dict[str, pa.Array] = {"question": pa.array([q for q, _ in lines], pa.string())}
        for name, kind in _FIELDS[1:]:
            columns[name] = pa.array([getattr(hit, name) for _, hit in lines], kind)
        for field in self._columns:
            if field.name in _OWN:
                continue
            name = field.name
            while name in columns:
                name = f"metadata.{name}"
            values = [hit.metadata.get(field.name) for _, hit in lines]
            columns[name] = plain_column(values, field.type)
        return pa.table(columns)

    def to_pandas(self) -> Any:
        """Return `to_arrow` as a pandas ``DataFrame``; raises BadInput if pandas is missing."""
        try:
            return self.to_arrow().to_pandas()
        except ImportError as error:
            problem = f"can't be imported: {error}"
            raise BadInput("pandas", None, problem, "Install it, or use to_arrow") from error


def as_hit(
    rank: int,
    score: float,
    row: dict[str, Any],
    dense: float | None = None,
    lexical: float | None = None,
) -> Hit:
    """Return the hit of a stored row."""
    return Hit(
        rank=rank,
        score=score,
        metadata={name: value for name, value in row.items() if name not in _OWN},
        dense=dense,
        lexical=lexical,
        **{name: row[name] for name in ("document_id", "passage", "start", "end", "text")},
    )
