"""The part of a manifest that describes a segment's vector index."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from transforms.catalog.factory_text import count_lists, factory_problem
from transforms.catalog.manifest_json import Count, SmallCount, check_name
from transforms.errors import Damaged
from transforms.storage.remedies import ROLL_BACK

#: The only metric that albeam builds: cosine is that of normalized vectors.
METRIC = "inner_product"
#: So much of a factory string is repeated in an error.
_SHOWN = 80


@dataclass(frozen=True)
class Setting:
    """The search parameter for segments of which at least a given share of the rows is live.

    Attributes:
        live: the smallest share of live rows for which the setting was measured.
        value: nprobe or efSearch for short lists; 0 scans the live rows exactly.
        recall_at_10: recall@10 with ``value``, measured with stored vectors; 1 for a scan.
        recall_at_100: recall@100 with ``value_at_100``.
        questions_at_10: recall@10 of the given questions, or of generated ones if none were given.
        value_at_100: nprobe or efSearch for long lists; None if ``value`` serves both.
    """

    live: float
    value: SmallCount
    recall_at_10: float
    recall_at_100: float
    questions_at_10: float | None = None
    value_at_100: SmallCount | None = None

    def value_for(self, long: bool) -> int:
        """Return the value for long lists or for short ones."""
        return self.value_at_100 if long and self.value_at_100 is not None else self.value


@dataclass(frozen=True)
class IndexFile:
    """A file in ``index/`` or ``lexical/``: its name, its size in bytes and its SHA-256."""

    name: str
    bytes: Count
    sha256: str

    def __post_init__(self) -> None:
        """Raise Damaged if the name leads out of its folder."""
        check_name(self.name)


@dataclass(frozen=True)
class IndexShard:
    """Consecutive rows that share an index file.

    Attributes:
        number: the shard's place, from 0.
        rows: the number of rows.
        first_row: the segment's row that is row 0 of the shard.
        file: the index file.
        raw: the vectors as bare float16 rows; None for an exact index, which holds them itself.
    """

    number: Count
    rows: Count
    first_row: Count
    file: IndexFile
    raw: IndexFile | None


@dataclass(frozen=True)
class IndexInfo:
    """The vector index of a segment.

    Attributes:
        factory: the FAISS factory string.
        metric: ``inner_product``.
        shards: the shards, in order of their rows.
        settings: the search parameters, by share of live rows; empty for an exact index.
        trained: the trained index without rows that all shards share, if any.
        error: the mean squared distance of sampled rows from the trained index's centres or codes.
        drift: ``error`` divided by that of the rows that the index was trained on, if those were
            another segment's.
        why: one line for people: what was chosen, and why.
        asked: what the user gave: a name or a factory string.
        target: the recall@10 that the index had to reach.
    """

    factory: str
    metric: str
    shards: tuple[IndexShard, ...]
    settings: tuple[Setting, ...]
    trained: IndexFile | None
    error: float | None = None
    drift: float | None = None
    why: str = ""
    asked: str = "auto"
    target: float = 0.95

    def __post_init__(self) -> None:
        """Raise Damaged if FAISS can't be given the factory string, or the metric is another."""
        problem = factory_problem(self.factory)
        rows = sum(shard.rows for shard in self.shards)
        if not problem and count_lists(self.factory) > max(rows, 1):
            problem = f"has {count_lists(self.factory)} lists for {rows} rows"
        if problem:
            raise Damaged("factory string", self.factory[:_SHOWN], problem, ROLL_BACK)
        if self.metric != METRIC:
            raise Damaged("metric", self.metric[:_SHOWN], f"is not {METRIC}", ROLL_BACK)

    @property
    def recall(self) -> float:
        """Return recall@10 against exact search with all rows live; 1 for an exact index."""
        return self.settings[0].recall_at_10 if self.settings else 1.0

    @property
    def recall_of_questions(self) -> float | None:
        """Return recall@10 of the given or generated questions; None for an exact index."""
        return self.settings[0].questions_at_10 if self.settings else None

    @property
    def files(self) -> Iterator[IndexFile]:
        """Yield all files of the index."""
        for shard in self.shards:
            yield shard.file
            if shard.raw is not None:
                yield shard.raw
        if self.trained is not None:
            yield self.trained

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> bytes:
        """Return the index as JSON: equal content gives equal bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()
