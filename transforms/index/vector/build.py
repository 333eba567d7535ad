"""Build the index of a segment: train it once, build each shard, measure it, choose its settings.

Every function works on the files of one segment. Its memory is bounded by a shard or by the
training sample, and what it returns is small. `transforms.index.build` wires these functions.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.catalog.index_manifest import METRIC, IndexFile, IndexInfo, IndexShard, Setting
from transforms.catalog.layout import SegmentPaths
from transforms.errors import BadInput, Conflict, Damaged, RecallMissed
from transforms.index.shard_layout import ShardPlan
from transforms.index.top_k import Rows
from transforms.index.vector import faiss_factory, faiss_files, faiss_training
from transforms.index.vector.float16_vectors import blocks, open_raw
from transforms.index.vector.index_files import fetch, index_file
from transforms.index.vector.plan import IndexPlan
from transforms.index.vector.recall import ShardReport, choose_settings, made_questions
from transforms.index.vector.sampling import ShardSample, in_order, query_rows, shard_vectors
from transforms.index.vector.shard_recall import report_shard
from transforms.storage import filesystem

Vectors = npt.NDArray[np.float32]

#: If the drift of new rows from a reused index is larger, a new index is trained for them.
MAX_DRIFT = 1.5
#: Sampled rows on which the error of the codes is measured.
_ERROR_ROWS = 4_096
_NO_ROWS: Vectors = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class TrainedIndex:
    """A trained index without rows.

    Attributes:
        file: its file; None if the index needs no training.
        error: mean squared distance of sampled rows from its centres or codes.
        drift: that error divided by the error on the rows that it was trained on, if it was
            trained for an older segment; 1 means that it fits the new rows equally well.
        retrained: whether the drift was too large, so that a new index was trained.
    """

    file: IndexFile | None
    error: float | None
    drift: float | None = None
    retrained: bool = False


@dataclass(frozen=True)
class BuiltShard:
    """A shard's files, and what searches of it found; the report is None for an exact index."""

    shard: IndexShard
    report: ShardReport | None


def train(paths: SegmentPaths, plan: IndexPlan, samples: Sequence[ShardSample]) -> TrainedIndex:
    """Reuse an older trained index if it fits the samples of all shards, else train one.

    Raises:
        BadInput: FAISS can't train on the samples.
        Conflict: another run has removed the samples.
    """
    files = [sample.training for sample in in_order(samples) if sample.training is not None]
    if not files:
        return TrainedIndex(None, None)
    paths.claim()
    rows = _training_rows(paths, plan, files)
    some = rows[:: max(1, len(rows) // _ERROR_ROWS)]
    reused, drift, index = plan.reused, None, None
    if reused is not None:
        with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
            path = fetch(SegmentPaths(paths.store, reused.segment), reused.file, cache)
            index = faiss_files.read_index(path, plan.factory, plan.dim, 0, mapped=False)
        error = faiss_training.fit_error(index, some)
        drift = error / reused.error if reused.error and error else None
    retrained = drift is not None and drift > MAX_DRIFT
    if index is None or retrained:
        index = faiss_training.train_index(plan.factory, plan.dim, rows, plan.gpu)
        error = faiss_training.fit_error(index, some)
    with filesystem.put_by_content(paths.index, "trained", ".faiss") as written:
        faiss_files.write_index(index, written.path)
    return TrainedIndex(index_file(written), error, drift, retrained)


def _training_rows(paths: SegmentPaths, plan: IndexPlan, files: Sequence[IndexFile]) -> Vectors:
    with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
        pieces = []
        for file in files:
            if not filesystem.exists(filesystem.join(paths.index, file.name)):
                raise Conflict(
                    "segment",
                    paths.root,
                    "another run has built the same index and removed the samples",
                    "Run again",
                )
            pieces.append(np.load(fetch(paths, file, cache), mmap_mode="r", allow_pickle=False))
        rows, filled = np.empty((sum(map(len, pieces)), plan.dim), np.float32), 0
        while pieces:
            # One at a time, because mapped pages count as memory of this process.
            rows[filled : filled + len(pieces[0])] = pieces[0]
            filled += len(pieces.pop(0))
    return rows


def build_shard(
    paths: SegmentPaths,
    plan: IndexPlan,
    shard: ShardPlan,
    samples: Sequence[ShardSample],
    trained: TrainedIndex,
) -> BuiltShard:
    """Add a shard's rows to the trained index, write it, and search it for the queries.

    Raises:
        BadInput: FAISS can't read back the index that it wrote.
        Damaged: the number of rows differs from the parts' markers, or a vector is not finite.
    """
    paths.claim()
    with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
        if trained.file is None:
            index = faiss_training.train_index(plan.factory, plan.dim, _NO_ROWS)
        else:
            path = fetch(paths, trained.file, cache)
            index = faiss_files.read_index(path, plan.factory, plan.dim, 0, mapped=False)
        sample = next((each for each in samples if each.number == shard.number), None)
        report = None
        if sample is None:
            faiss_training.fill_index(index, shard.rows, shard_vectors(paths, shard))
        else:
            # Searches rank candidates by these rows, and they are faster to read than the parts.
            raw = open_raw(fetch(paths, sample.raw, cache), shard.rows, plan.dim)
            faiss_training.fill_index(index, shard.rows, blocks(raw))
            queries = np.concatenate([each.queries for each in in_order(samples)])
            own, asked = query_rows(samples), made_questions(queries)
            if plan.questions is not None:
                asked = np.load(fetch(paths, plan.questions, cache), allow_pickle=False)
            queries = np.concatenate([queries, asked.astype(np.float32)])
            own = np.concatenate([own, np.full(len(asked), -1, np.int64)])
            report = report_shard(plan, shard, index, raw, queries, own)
        with filesystem.put_by_content(
            paths.index, f"shard-{shard.number:05d}", ".faiss"
        ) as written:
            faiss_files.write_index(index, written.path)
            del index
            _check_readable(plan, shard, Path(written.path))
    raw_file = sample.raw if sample is not None else None
    made = IndexShard(shard.number, shard.rows, shard.first_row, index_file(written), raw_file)
    return BuiltShard(made, report)


def _check_readable(plan: IndexPlan, shard: ShardPlan, path: Path) -> None:
    """Check that a search can open what FAISS wrote."""
    try:
        faiss_files.read_index(path, plan.factory, plan.dim, shard.rows)
    except Damaged as error:
        raise BadInput(
            "index",
            plan.factory,
            f"FAISS can't read back the index that it wrote of these rows ({error}); nothing was "
            "published",
            "Give another --index",
        ) from error


def finish_index(
    paths: SegmentPaths,
    plan: IndexPlan,
    samples: Sequence[ShardSample],
    trained: TrainedIndex,
    built: Sequence[BuiltShard],
) -> IndexInfo:
    """Choose the search-time settings, and return the index's part of the manifest.

    Raises:
        RecallMissed: no setting reaches the target.
    """
    built = sorted(built, key=_shard_number)
    settings: tuple[Setting, ...] = ()
    if not plan.exact:
        own = query_rows(samples)
        reports = [each.report for each in built if each.report is not None]
        questions = len(reports[0].exact[1.0][0]) - len(own)
        own = np.concatenate([own, np.full(questions, -1, np.int64)])
        settings = _settings(plan, trained, reports, own)
    shards = tuple(each.shard for each in built)
    for sample in samples:
        if sample.training is not None:
            # Only training needs these files. A vacuum removes those that remain.
            with contextlib.suppress(OSError):
                filesystem.remove(filesystem.join(paths.index, sample.training.name))
    return IndexInfo(
        factory=plan.factory,
        metric=METRIC,
        shards=shards,
        settings=settings,
        trained=trained.file,
        error=trained.error,
        drift=None if trained.retrained else trained.drift,
        why=plan.why + _explain_reuse(plan, trained) + _explain_scan(settings),
        asked=plan.asked,
        target=plan.target,
    )


def _shard_number(built: BuiltShard) -> int:
    return built.shard.number


def _settings(
    plan: IndexPlan, trained: TrainedIndex, reports: list[ShardReport], own: Rows
) -> tuple[Setting, ...]:
    """Choose the settings; scan everything if an automatically chosen graph misses the target."""
    try:
        return choose_settings(reports, own, plan.target, plan.factory)
    except RecallMissed as error:
        kind = faiss_factory.kind_of(plan.factory, plan.dim)
        if plan.asked == "auto" and kind.setting == "efSearch":
            # A graph is chosen only for so few rows that they can be scanned.
            return (Setting(1.0, 0, 1.0, 1.0, 1.0 if (own < 0).any() else None),)
        if plan.reused is None or trained.retrained:
            raise
        raise RecallMissed(
            error.option,
            error.value,
            f"{error.problem}; it was trained for segment {plan.reused.segment}",
            "Publish these rows with --index flat, then run albeam index, which trains a new one",
        ) from error


def _explain_scan(settings: tuple[Setting, ...]) -> str:
    """Return a remark about an index that misses the target, so that searches scan instead."""
    if not settings or settings[0].value:
        return ""
    return ", which misses the target: each search scans all float16 vectors"


def _explain_reuse(plan: IndexPlan, trained: TrainedIndex) -> str:
    """Return a remark about an older segment's trained index."""
    if plan.reused is None:
        return ""
    if trained.retrained:
        return (
            f", trained anew: its rows lie {trained.drift:.2f} times as far off the centres of "
            f"segment {plan.reused.segment} as those"
        )
    remark = f", trained for segment {plan.reused.segment}"
    if trained.drift is not None:
        remark += f", and off these rows {trained.drift:.2f} times as far as its own"
    return remark
