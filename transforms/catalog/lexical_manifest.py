"""What a manifest says of a segment's lexical index, and what is asked for one."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from transforms.catalog.index_manifest import IndexFile

#: Languages whose words can be reduced to their stems (Snowball's), and none of them.
LANGUAGES = (
    *("arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian"),
    *("italian", "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil"),
    *("turkish", "none"),
)


@dataclass(frozen=True)
class LexicalPiece:
    """Files of one tantivy segment; the end of a name says what a file is for.

    Attributes:
        rows: passages in it.
        files: in ``lexical/``.
    """

    rows: int
    files: tuple[IndexFile, ...]


@dataclass(frozen=True)
class LexicalShard:
    """Consecutive rows that were indexed together.

    Attributes:
        number: its place.
        rows: how many it holds.
        first_row: the segment's row that is its row 0.
        pieces: together they hold its rows.
    """

    number: int
    rows: int
    first_row: int
    pieces: tuple[LexicalPiece, ...]


@dataclass(frozen=True)
class LexicalInfo:
    """The lexical index of a segment.

    Attributes:
        language: whose stems its terms are.
        shards: in order of their rows.
    """

    language: str
    shards: tuple[LexicalShard, ...]

    @property
    def files(self) -> Iterator[IndexFile]:
        """All files that it is made of, each once."""
        files = (f for shard in self.shards for piece in shard.pieces for f in piece.files)
        yield from dict.fromkeys(files)

    @property
    def rows(self) -> int:
        """Passages of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> bytes:
        """The index as JSON, the same bytes for the same content."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "LexicalInfo":
        """The index that ``dataclasses.asdict`` wrote."""
        shards = []
        for shard in value["shards"]:
            pieces = tuple(
                LexicalPiece(piece["rows"], tuple(IndexFile(**file) for file in piece["files"]))
                for piece in shard["pieces"]
            )
            shards.append(LexicalShard(**shard | {"pieces": pieces}))
        if value["language"] not in LANGUAGES:
            raise ValueError(f"language {value['language']!r} is not known")
        return cls(value["language"], tuple(shards))
