"""A segment: what one run produced, and the manifest that describes it.

``segments/<name>/`` holds ``plan.json``, ``vectors/part-*.parquet`` each with its marker
``part-*.json``, ``rejects/``, ``index/``, ``lexical/`` and, once all is done, ``segment.json``.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from transforms.catalog.index_manifest import IndexInfo
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.manifest_json import Count, check_name, decode, encode_schema
from transforms.errors import BadInput
from transforms.models.identity import ModelIdentity
from transforms.storage.column_types import TypesDiffer, common_schema
from transforms.storage.filesystem import FileInfo


@dataclass(frozen=True)
class PartInfo:
    """A finished part; the content of its marker.

    Attributes:
        number: the part's place in the segment.
        name: the part's file in ``vectors/``.
        rows: the number of passages.
        bytes: the file's size.
        sha256: the file's digest.
        documents: the number of documents with at least one passage in the part.
        tokens: the number of embedded token ids, special tokens included.
        text_bytes: the UTF-8 bytes of the passages.
        rejects: the number of rejected rows by reason.
        rejects_name: the file in ``rejects/``; "" if no row was rejected.
        rejects_sha256: the digest of that file, or "".
        footer_sha256: the digest of the footer of the part's file; "" if albeam 0.1 wrote it.
    """

    number: Count
    name: str
    rows: Count
    bytes: Count
    sha256: str
    documents: Count
    tokens: Count
    text_bytes: Count
    rejects: dict[str, Count]
    rejects_name: str = ""
    rejects_sha256: str = ""
    footer_sha256: str = ""

    def __post_init__(self) -> None:
        """Raise Damaged if a file name leads out of its folder."""
        check_name(self.name)
        if self.rejects_name:
            check_name(self.rejects_name)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value; without the newer key if it is empty, as albeam 0.1 wrote it."""
        value = asdict(self)
        if not self.footer_sha256:
            del value["footer_sha256"]
        return value


@dataclass(frozen=True)
class SegmentInfo:
    """The content of ``segment.json``.

    Attributes:
        name: the segment's folder.
        identity: the model of the vectors.
        vector_dtype: ``float32`` or ``float16``.
        inputs: the input files of the segment.
        metadata: the Arrow schema of the metadata columns.
        parts: the parts in order; a row's id is its place in their concatenation.
        index: the vector index; None if none was asked for.
        lexical: the lexical index; None if none was asked for.
    """

    name: str
    identity: ModelIdentity
    vector_dtype: str
    inputs: tuple[FileInfo, ...]
    metadata: pa.Schema
    parts: tuple[PartInfo, ...]
    index: IndexInfo | None
    lexical: LexicalInfo | None = None

    def __post_init__(self) -> None:
        """Raise Damaged if the name leads out of the store."""
        check_name(self.name)

    @property
    def rows(self) -> int:
        """Return the passages of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def size(self) -> int:
        """Return the bytes of parts and indexes."""
        indexes = [index.size for index in (self.index, self.lexical) if index is not None]
        return self.total("bytes") + sum(indexes)

    def total(self, name: str) -> int:
        """Return the sum over all parts of a field, such as ``documents`` or ``tokens``."""
        return sum(getattr(part, name) for part in self.parts)

    @property
    def rejects(self) -> dict[str, int]:
        """Return the number of rejected rows by reason."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts.update(part.rejects)
        return dict(sorted(counts.items()))

    def to_json(self) -> bytes:
        """Return the segment as JSON: equal content gives equal bytes."""
        lexical = None if self.lexical is None else self.lexical.to_dict()
        value = asdict(replace(self, parts=())) | {
            "identity": self.identity.to_dict(),
            "metadata": encode_schema(self.metadata),
            "lexical": lexical,
            "parts": [part.to_dict() for part in self.parts],
        }
        return json.dumps(value, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "SegmentInfo":
        """Return the segment that `to_json` wrote.

        Raises:
            Damaged: the content is not such a segment; ``where`` names the file.
        """
        return decode(content, cls, where)


def check_metadata(schema: pa.Schema, others: Iterable[tuple[str, pa.Schema]]) -> None:
    """Check that metadata columns fit those in the store.

    Args:
        schema: the metadata schema of the input.
        others: names and metadata schemas of live segments.

    Raises:
        BadInput: no type holds the values of a column and of that in a live segment.
    """
    for name, theirs in others:
        try:
            common_schema([theirs, schema], same_times=True)
        except TypesDiffer as error:
            raise BadInput(
                "metadata columns",
                None,
                f"differ from those of segment {name!r}: {error}",
                "Cast or rename them, or give --mode replace to start from an empty store",
            ) from error
