"""The part of a manifest that describes a segment's lexical index."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.manifest_json import Count
from transforms.catalog.options import ANALYZER_VERSION, LANGUAGES
from transforms.errors import Damaged
from transforms.storage import remedies

#: That of manifests which don't name it.
_FIRST_ANALYZER = 1


@dataclass(frozen=True)
class LexicalPiece:
    """The files of one tantivy segment; the suffix of a name says what a file is for.

    Attributes:
        rows: the number of passages.
        files: the files in ``lexical/``.
    """

    rows: Count
    files: tuple[IndexFile, ...]


@dataclass(frozen=True)
class LexicalShard:
    """Consecutive rows that were indexed together.

    Attributes:
        number: the shard's place, from 0.
        rows: the number of rows.
        first_row: the segment's row that is row 0 of the shard.
        pieces: the tantivy segments that together hold the rows.
    """

    number: Count
    rows: Count
    first_row: Count
    pieces: tuple[LexicalPiece, ...]


@dataclass(frozen=True)
class LexicalInfo:
    """The lexical index of a segment.

    Attributes:
        language: the language of the stemmer, one of `LANGUAGES`.
        shards: the shards, in order of their rows.
        analyzer: the version of the analyzer that made the terms.
    """

    language: str
    shards: tuple[LexicalShard, ...]
    analyzer: int = _FIRST_ANALYZER

    def __post_init__(self) -> None:
        """Raise Damaged if no stemmer has the language, or the analyzer is not known."""
        if self.language not in LANGUAGES:
            raise Damaged("language", self.language, "is not known", remedies.ROLL_BACK)
        if not _FIRST_ANALYZER <= self.analyzer <= ANALYZER_VERSION:
            problem = f"is not known; this version of albeam has {_FIRST_ANALYZER} to"
            raise Damaged(
                "analyzer", self.analyzer, f"{problem} {ANALYZER_VERSION}", "Upgrade albeam"
            )

    @property
    def files(self) -> Iterator[IndexFile]:
        """Yield all files of the index, each once."""
        files = (f for shard in self.shards for piece in shard.pieces for f in piece.files)
        yield from dict.fromkeys(files)

    @property
    def rows(self) -> int:
        """Return the passages of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> bytes:
        """Return the index as JSON: equal content gives equal bytes."""
        return json.dumps(self.to_dict(), sort_keys=True).encode()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value; without the key of the first analyzer, as albeam 0.1 wrote it."""
        value = asdict(self)
        if self.analyzer == _FIRST_ANALYZER:
            del value["analyzer"]
        return value
