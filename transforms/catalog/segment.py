"""A segment: what one run produced, where its files lie, and how they are described.

``segments/<name>/`` holds ``plan.json``, ``vectors/part-*.parquet`` each with its marker
``part-*.json``, ``rejects/``, ``index/``, ``lexical/`` and, once all is done, ``segment.json``.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from transforms.catalog.index_manifest import IndexInfo
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.manifest_json import check_name, parse
from transforms.errors import BadInput
from transforms.models.identity import ModelIdentity
from transforms.storage.filesystem import FileInfo


@dataclass(frozen=True)
class PartInfo:
    """A part that is done; the content of its marker.

    Attributes:
        number: its place in the segment.
        name: its file in ``vectors/``.
        rows: passages in it.
        bytes: the file's size.
        sha256: the file's digest.
        documents: documents with at least one passage in it.
        tokens: token ids embedded, special tokens counted.
        text_bytes: UTF-8 bytes of the passages.
        rejects: reason to number of rejected rows.
        rejects_name: the file in ``rejects/``, or "".
        rejects_sha256: its digest, or "".
    """

    number: int
    name: str
    rows: int
    bytes: int
    sha256: str
    documents: int
    tokens: int
    text_bytes: int
    rejects: dict[str, int]
    rejects_name: str = ""
    rejects_sha256: str = ""


@dataclass(frozen=True)
class SegmentInfo:
    """The content of ``segment.json``.

    Attributes:
        name: the segment's folder.
        identity: the model of its vectors.
        vector_dtype: ``float32`` or ``float16``.
        inputs: the files that it was made of.
        metadata: the metadata columns' Arrow schema.
        parts: in order; a row's id is its place in their concatenation.
        index: None where none was asked for.
        lexical: likewise.
    """

    name: str
    identity: ModelIdentity
    vector_dtype: str
    inputs: tuple[FileInfo, ...]
    metadata: pa.Schema
    parts: tuple[PartInfo, ...]
    index: IndexInfo | None
    lexical: LexicalInfo | None = None

    @property
    def rows(self) -> int:
        """Passages in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of parts and indexes."""
        indexes = [index.size for index in (self.index, self.lexical) if index is not None]
        return self.total("bytes") + sum(indexes)

    def total(self, name: str) -> int:
        """The sum over parts of one of their numbers, such as ``documents`` or ``tokens``."""
        return sum(getattr(part, name) for part in self.parts)

    @property
    def rejects(self) -> dict[str, int]:
        """Reason to number of rejected rows."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts.update(part.rejects)
        return dict(sorted(counts.items()))

    def to_json(self) -> bytes:
        """The segment as JSON, the same bytes for the same content."""
        value = asdict(self) | {"metadata": self.metadata.serialize().to_pybytes().hex()}
        return json.dumps(value, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "SegmentInfo":
        """The segment that `to_json` wrote; ``where`` names the file in errors."""
        return parse(content, where, cls._from_value)

    @classmethod
    def _from_value(cls, value: dict[str, Any]) -> "SegmentInfo":
        index = value["index"]
        if index is not None:
            index = IndexInfo.from_dict(index)
            for file in index.files:
                check_name(file.name)
        # Segments of an earlier albeam lack it.
        lexical = value.get("lexical")
        if lexical is not None:
            lexical = checked_lexical(lexical)
        parts = tuple(checked_part(part) for part in value["parts"])
        return cls(
            name=check_name(value["name"]),
            identity=ModelIdentity.from_dict(value["identity"]),
            vector_dtype=value["vector_dtype"],
            inputs=tuple(FileInfo(**file) for file in value["inputs"]),
            metadata=pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(value["metadata"]))),
            parts=parts,
            index=index,
            lexical=lexical,
        )


def checked_lexical(value: dict[str, Any]) -> LexicalInfo:
    """A lexical index from its JSON value, whose file names stay in the store."""
    info = LexicalInfo.from_dict(value)
    for file in info.files:
        check_name(file.name)
    return info


def checked_part(value: dict[str, Any]) -> PartInfo:
    """Decode a part of a manifest and check its file names."""
    part = PartInfo(**value)
    check_name(part.name)
    if part.rejects_name:
        check_name(part.rejects_name)
    return part


def check_metadata(schema: pa.Schema, others: Iterable[tuple[str, pa.Schema]]) -> None:
    """Raise BadInput where metadata columns differ in type from those that the store has.

    Args:
        schema: of the input's.
        others: names and metadata schemas of live segments.
    """
    for name, theirs in others:
        try:
            pa.unify_schemas([theirs, schema])
        except pa.ArrowException as error:
            raise BadInput(
                f"the metadata columns differ from those of segment {name!r}: {error}; "
                "cast or rename them, or give --mode replace to start the store anew"
            ) from error
