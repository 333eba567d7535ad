"""The part of a manifest that describes a segment's lexical index."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.options import LANGUAGES
from transforms.errors import Damaged
from transforms.storage import remedies


@dataclass(frozen=True)
class LexicalPiece:
    """The files of one tantivy segment; the suffix of a name says what a file is for.

    Attributes:
        rows: the number of passages.
        files: the files in ``lexical/``.
    """

    rows: int
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

    number: int
    rows: int
    first_row: int
    pieces: tuple[LexicalPiece, ...]


@dataclass(frozen=True)
class LexicalInfo:
    """The lexical index of a segment.

    Attributes:
        language: the language of the stemmer, one of `LANGUAGES`.
        shards: the shards, in order of their rows.
    """

    language: str
    shards: tuple[LexicalShard, ...]

    def __post_init__(self) -> None:
        """Raise Damaged if no stemmer has the language."""
        if self.language not in LANGUAGES:
            raise Damaged("language", self.language, "is not known", remedies.ROLL_BACK)

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
        return json.dumps(asdict(self), sort_keys=True).encode()
