"""The sample of each shard: its vectors as bare rows, training rows and recall queries."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import read_vectors
from transforms.errors import Damaged
from transforms.index.shard_layout import ShardPlan, even_rows
from transforms.index.top_k import Rows
from transforms.index.vector import faiss_factory
from transforms.index.vector.float16_vectors import open_raw, pick, write_raw
from transforms.index.vector.index_files import fetch, index_file, write_array
from transforms.index.vector.plan import IndexPlan
from transforms.index.vector.recall import QUERIES
from transforms.storage import filesystem, remedies

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ShardSample:
    """The data that a shard contributes before the index is trained.

    Attributes:
        number: the shard's number.
        raw: the file of its vectors as bare float16 rows.
        training: a file of rows to train on; None if the index needs no training.
        own: the segment's rows that serve as queries.
        queries: the vectors of these rows.
    """

    number: int
    raw: IndexFile
    training: IndexFile | None
    own: Rows
    queries: Vectors


def sample_shard(paths: SegmentPaths, plan: IndexPlan, shard: ShardPlan) -> ShardSample:
    """Write a shard's vectors as bare rows, and select its share of training rows and queries.

    Raises:
        Damaged: the number of rows differs from the parts' markers, or a vector is not finite.
    """
    paths.claim()
    stop = shard.first_row + shard.rows
    own = _within(even_rows(plan.rows, QUERIES), shard.first_row, stop)
    wanted = faiss_factory.kind_of(plan.factory, plan.dim).training
    training = None
    with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
        with filesystem.put_by_content(paths.index, f"raw-{shard.number:05d}", ".f16") as written:
            write_raw(written.path, shard_vectors(paths, shard))
        raw_file = index_file(written)
        raw = open_raw(fetch(paths, raw_file, cache), shard.rows, plan.dim)
        if wanted:
            chosen = _within(even_rows(plan.rows, wanted), shard.first_row, stop)
            rows = pick(raw, chosen - shard.first_row)
            training = write_array(paths, f"sample-{shard.number:05d}", rows)
        queries = pick(raw, own - shard.first_row).astype(np.float32)
    return ShardSample(shard.number, raw_file, training, own, queries)


def shard_vectors(paths: SegmentPaths, shard: ShardPlan) -> Iterator[Vectors]:
    """Yield a shard's vectors in chunks; check that they are finite and complete.

    Raises:
        Damaged: the number of rows differs from the parts' markers, or a vector is not finite.
    """
    first = shard.first_row
    for chunk in read_vectors(paths, shard.parts):
        wrong = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(wrong):
            row = first + int(wrong[0])
            problem = f"the vector of row {row} is not finite"
            raise Damaged("segment", paths.root, problem, remedies.NEW_STORE)
        first += len(chunk)
        yield chunk
    found = first - shard.first_row
    if found != shard.rows:
        problem = f"its parts have {found} rows, but their markers say {shard.rows}"
        raise Damaged("segment", paths.root, problem, remedies.NEW_STORE)


def in_order(samples: Sequence[ShardSample]) -> list[ShardSample]:
    """Return the samples in the order of their shards."""
    return sorted(samples, key=_number)


def query_rows(samples: Sequence[ShardSample]) -> Rows:
    """Return the segment's rows that serve as queries, in order."""
    return np.concatenate([sample.own for sample in in_order(samples)])


def _number(sample: ShardSample) -> int:
    return sample.number


def _within(rows: Rows, first: int, stop: int) -> Rows:
    return rows[(rows >= first) & (rows < stop)]
