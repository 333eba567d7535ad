"""What a search finds: hits, and tables of them."""

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
        score: by which it is ranked: see `Store.search`.
        document_id: of the document.
        passage: its number in the document.
        start, end: its span in the document's text, in Unicode code points.
        text: of the passage.
        metadata: the document's metadata columns.
        dense: inner product of question and passage, the cosine where vectors are normalized or the
            mode is hybrid; None in mode lexical.
        lexical: BM25; None in mode dense.
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
        """``columns`` are the store's metadata columns."""
        super().__init__(hits)
        self._questions, self._columns = tuple(questions), columns

    def to_arrow(self) -> pa.Table:
        """One row a question and hit: the question, the hit's fields, then the metadata columns.

        A metadata column that has the name of another one here gets ``metadata.`` before it.
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
            name = f"metadata.{field.name}" if field.name in columns else field.name
            values = [hit.metadata.get(field.name) for _, hit in lines]
            columns[name] = plain_column(values, field.type)
        return pa.table(columns)

    def to_pandas(self) -> Any:
        """The same as a pandas ``DataFrame``; raises BadInput where pandas is not installed."""
        try:
            return self.to_arrow().to_pandas()
        except ImportError as error:
            raise BadInput(f"{error}; install pandas, or take to_arrow") from error


def as_hit(
    rank: int,
    score: float,
    row: dict[str, Any],
    dense: float | None = None,
    lexical: float | None = None,
) -> Hit:
    """A hit of a stored row's columns."""
    return Hit(
        rank=rank,
        score=score,
        metadata={name: value for name, value in row.items() if name not in _OWN},
        dense=dense,
        lexical=lexical,
        **{name: row[name] for name in ("document_id", "passage", "start", "end", "text")},
    )
