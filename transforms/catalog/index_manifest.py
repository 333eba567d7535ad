"""What a manifest says of a segment's index."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """How to search where a share of the rows lives.

    Attributes:
        live: the share, or more.
        value: nprobe or efSearch for short lists; 0 scans the live rows exactly.
        recall_at_10: of stored vectors, measured with it; 1 for a scan.
        recall_at_100: the same with ``value_at_100``.
        questions_at_10: recall@10 of the questions that were given, else of those that were made.
        value_at_100: nprobe or efSearch for long lists; None for the same.
    """

    live: float
    value: int
    recall_at_10: float
    recall_at_100: float
    questions_at_10: float | None = None
    value_at_100: int | None = None

    def value_for(self, long: bool) -> int:
        """The value for lists of more than a few rows, or for short ones."""
        return self.value_at_100 if long and self.value_at_100 is not None else self.value


@dataclass(frozen=True)
class IndexFile:
    """A file in ``index/``: its name, its size in bytes and its SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class IndexShard:
    """Consecutive rows that share an index file.

    Attributes:
        number: its place.
        rows: how many it holds.
        first_row: the segment's row that is its row 0.
        file: the index.
        raw: its vectors as bare float16 rows; None beside an exact index.
    """

    number: int
    rows: int
    first_row: int
    file: IndexFile
    raw: IndexFile | None = None


@dataclass(frozen=True)
class IndexInfo:
    """The index of a segment.

    Attributes:
        factory: FAISS factory.
        metric: ``inner_product``.
        shards: in order of their rows.
        settings: how to search, by the share of rows that live; none for an exact index.
        trained: the trained index without rows that all shards began with, if any.
        error: mean squared distance of sampled rows from the centres or codes of the trained index.
        drift: how many times that of the rows that it was trained on, where those were others.
        why: what was chosen and why, in a line for people.
        asked: what the user gave for it, a name or a factory.
        target: the recall@10 that it had to reach.
    """

    factory: str
    metric: str
    shards: tuple[IndexShard, ...]
    settings: tuple[Setting, ...] = ()
    trained: IndexFile | None = None
    error: float | None = None
    drift: float | None = None
    why: str = ""
    asked: str = "auto"
    target: float = 0.95

    @property
    def recall(self) -> float:
        """Recall@10 against exact search with all rows live; 1 for an exact index."""
        return self.settings[0].recall_at_10 if self.settings else 1.0

    @property
    def recall_of_questions(self) -> float | None:
        """The same of the questions that were given, or made; None for an exact index."""
        return self.settings[0].questions_at_10 if self.settings else None

    @property
    def files(self) -> Iterator[IndexFile]:
        """All files that it is made of."""
        for shard in self.shards:
            yield shard.file
            if shard.raw is not None:
                yield shard.raw
        if self.trained is not None:
            yield self.trained

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> bytes:
        """The index as JSON, the same bytes for the same content."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "IndexInfo":
        """The index that ``dataclasses.asdict`` wrote."""
        shards = tuple(
            IndexShard(**each | {"file": IndexFile(**each["file"]), "raw": _file(each["raw"])})
            for each in value["shards"]
        )
        settings = tuple(Setting(**each) for each in value["settings"])
        changed = {"shards": shards, "settings": settings, "trained": _file(value["trained"])}
        return cls(**value | changed)


def _file(value: dict[str, Any] | None) -> IndexFile | None:
    return IndexFile(**value) if value is not None else None
