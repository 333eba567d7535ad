"""Build the index of a segment: sample, train once, build each shard, measure, choose settings.

Every function works on files of one segment and is bounded by a shard or by the training sample;
what passes between them is small. `transforms.index.build` wires them.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.catalog.index_manifest import IndexFile, IndexInfo, IndexShard, Setting
from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.parts import read_vectors
from transforms.errors import BadInput, Conflict, Damaged, RecallMissed
from transforms.index.options import IndexOptions
from transforms.index.shard_layout import ShardPlan, even_rows
from transforms.index.top_k import Rows
from transforms.index.vector import faiss_factory, faiss_files, faiss_search, faiss_training
from transforms.index.vector.float16_vectors import Raw, blocks, open_raw, pick, write_raw
from transforms.index.vector.plan import IndexPlan
from transforms.index.vector.recall import QUERIES, ShardReport, choose_settings, made_questions
from transforms.index.vector.shard_recall import report_shard
from transforms.storage import filesystem
from transforms.storage.file_cache import FileCache

Vectors = npt.NDArray[np.float32]

#: New rows that an older index fits so much worse than its own get an index of their own.
MOST_DRIFT = 1.5
#: Sampled rows of which the error of their codes is measured.
_ERROR_ROWS = 4_096
_NO_ROWS: Vectors = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class ShardSample:
    """What is taken from a shard before the index is trained.

    Attributes:
        number: the shard's.
        raw: its vectors as bare rows.
        training: a file of rows to train on, where any are wanted.
        own: the segment's rows that are queries, and their vectors.
    """

    number: int
    raw: IndexFile
    training: IndexFile | None
    own: Rows
    queries: Vectors


@dataclass(frozen=True)
class Trained:
    """The trained index without rows, if one was needed, and its error on the sample.

    ``drift`` is how many times as far as the rows that an older segment's index was trained on
    these rows are off it; where that is too far, ``anew`` says that they have one of their own.
    """

    file: IndexFile | None
    error: float | None
    drift: float | None = None
    anew: bool = False


@dataclass(frozen=True)
class BuiltShard:
    """A shard's files, and what was found in it for the queries; None where it is exact."""

    shard: IndexShard
    report: ShardReport | None


def sample_shard(paths: SegmentPaths, plan: IndexPlan, shard: ShardPlan) -> ShardSample:
    """Write a shard's vectors as bare rows, and take its share of training rows and queries.

    Raises:
        Damaged: the parts have other rows than their markers say, or one is not finite.
    """
    paths.claim()
    stop = shard.first_row + shard.rows
    own = _within(even_rows(plan.rows, QUERIES), shard.first_row, stop)
    wanted = faiss_factory.kind_of(plan.factory, plan.dim).training
    training = None
    with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
        with filesystem.put_by_content(paths.index, f"raw-{shard.number:05d}", ".f16") as raw_file:
            write_raw(raw_file.path, _finite(paths, shard))
        raw = _open_raw(paths, plan, shard, _file(raw_file), cache)
        if wanted:
            places = _within(even_rows(plan.rows, wanted), shard.first_row, stop)
            with filesystem.put_by_content(
                paths.index, f"sample-{shard.number:05d}", ".npy"
            ) as kept:
                _save(kept.path, pick(raw, places - shard.first_row))
            training = _file(kept)
        queries = pick(raw, own - shard.first_row).astype(np.float32)
    return ShardSample(shard.number, _file(raw_file), training, own, queries)


def train(paths: SegmentPaths, plan: IndexPlan, samples: Sequence[ShardSample]) -> Trained:
    """Take an older index that fits all shards' samples, or train one; write it without rows.

    Raises:
        BadInput: FAISS can't train on them.
        Conflict: another run has removed the samples.
    """
    files = [sample.training for sample in _ordered(samples) if sample.training is not None]
    if not files:
        return Trained(None, None)
    paths.claim()
    with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
        pieces = []
        for file in files:
            if not filesystem.exists(filesystem.join(paths.index, file.name)):
                raise Conflict(
                    f"{paths.root}: another run has built the same index, and removed the samples; "
                    "run again"
                )
            pieces.append(np.load(_fetch(paths, file, cache), mmap_mode="r", allow_pickle=False))
        rows, filled = np.empty((sum(map(len, pieces)), plan.dim), np.float32), 0
        while pieces:
            # One at a time: what is mapped counts as this process' memory.
            rows[filled : filled + len(pieces[0])] = pieces[0]
            filled += len(pieces.pop(0))
    some = rows[:: max(1, len(rows) // _ERROR_ROWS)]
    before, drift, index = plan.before, None, None
    if before is not None:
        with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
            path = _fetch(SegmentPaths(paths.store, before.segment), before.file, cache)
            index = faiss_files.read_index(path, plan.factory, plan.dim, 0, mapped=False)
        error = faiss_training.fit_error(index, some)
        drift = error / before.error if before.error and error else None
    anew = drift is not None and drift > MOST_DRIFT
    if index is None or anew:
        index = faiss_training.train_index(plan.factory, plan.dim, rows, plan.gpu)
        error = faiss_training.fit_error(index, some)
    with filesystem.put_by_content(paths.index, "trained", ".faiss") as written:
        faiss_files.write_index(index, written.path)
    return Trained(_file(written), error, drift, anew)


def build_shard(
    paths: SegmentPaths,
    plan: IndexPlan,
    shard: ShardPlan,
    samples: Sequence[ShardSample],
    trained: Trained,
) -> BuiltShard:
    """Add a shard's rows to the trained index, write it, and search it for the queries.

    Raises:
        Damaged: the parts have other rows than their markers say, or one is not finite.
    """
    paths.claim()
    with tempfile.TemporaryDirectory(prefix="albeam-") as cache:
        if trained.file is None:
            index = faiss_training.train_index(plan.factory, plan.dim, _NO_ROWS)
        else:
            path = _fetch(paths, trained.file, cache)
            index = faiss_files.read_index(path, plan.factory, plan.dim, 0, mapped=False)
        sample = next((each for each in samples if each.number == shard.number), None)
        report = None
        if sample is None:
            faiss_training.fill_index(index, shard.rows, _finite(paths, shard))
        else:
            # Candidates are ranked by these rows in any case, and they are read faster than parts.
            raw = _open_raw(paths, plan, shard, sample.raw, cache)
            faiss_training.fill_index(index, shard.rows, blocks(raw))
            queries = np.concatenate([each.queries for each in _ordered(samples)])
            own, asked = _own_rows(samples), made_questions(queries)
            if plan.questions is not None:
                asked = np.load(_fetch(paths, plan.questions, cache), allow_pickle=False)
            queries = np.concatenate([queries, asked.astype(np.float32)])
            own = np.concatenate([own, np.full(len(asked), -1, np.int64)])
            report = report_shard(plan, shard, index, raw, queries, own)
        with filesystem.put_by_content(
            paths.index, f"shard-{shard.number:05d}", ".faiss"
        ) as written:
            faiss_files.write_index(index, written.path)
            del index
            _read_back(plan, shard, Path(written.path))
    raw_info = sample.raw if sample is not None else None
    made = IndexShard(shard.number, shard.rows, shard.first_row, _file(written), raw_info)
    return BuiltShard(made, report)


def finish_index(
    paths: SegmentPaths,
    plan: IndexPlan,
    samples: Sequence[ShardSample],
    trained: Trained,
    built: Sequence[BuiltShard],
) -> IndexInfo:
    """Choose the search-time settings, and say what the manifest will.

    Raises:
        RecallMissed: no setting reaches the target.
    """
    built = sorted(built, key=_shard_number)
    settings: tuple[Setting, ...] = ()
    if not plan.exact:
        own = _own_rows(samples)
        reports = [each.report for each in built if each.report is not None]
        questions = len(reports[0].exact[1.0][0]) - len(own)
        own = np.concatenate([own, np.full(questions, -1, np.int64)])
        settings = _settings(plan, trained, reports, own)
    shards = tuple(each.shard for each in built)
    for sample in samples:
        if sample.training is not None:
            # It was for training alone; what is left behind, a vacuum takes.
            with contextlib.suppress(OSError):
                filesystem.remove(filesystem.join(paths.index, sample.training.name))
    return IndexInfo(
        factory=plan.factory,
        metric=faiss_search.METRIC,
        shards=shards,
        settings=settings,
        trained=trained.file,
        error=trained.error,
        drift=None if trained.anew else trained.drift,
        why=plan.why + _reuse(plan, trained) + _scanned(settings),
        asked=plan.asked,
        target=plan.target,
    )


def _read_back(plan: IndexPlan, shard: ShardPlan, path: Path) -> None:
    """See whether a search will be able to open what FAISS wrote."""
    try:
        faiss_files.read_index(path, plan.factory, plan.dim, shard.rows)
    except Damaged as error:
        raise BadInput(
            f"index {plan.factory!r} of these rows can't be read as FAISS wrote it ({error}); "
            "nothing was published: give another --index"
        ) from error


def _own_rows(samples: Sequence[ShardSample]) -> Rows:
    return np.concatenate([sample.own for sample in _ordered(samples)])


def _settings(
    plan: IndexPlan, trained: Trained, reports: list[ShardReport], own: Rows
) -> tuple[Setting, ...]:
    """What `choose_settings` does; a scan of all where a graph that was not asked for misses."""
    what = f"index {plan.factory} of {plan.rows:,} rows"
    try:
        return choose_settings(reports, own, plan.target, what)
    except RecallMissed as error:
        kind = faiss_factory.kind_of(plan.factory, plan.dim)
        if plan.asked == "auto" and kind.setting == "efSearch":
            # So few rows as a graph is chosen for can be scanned.
            return (Setting(1.0, 0, 1.0, 1.0, 1.0 if (own < 0).any() else None),)
        if plan.before is None or trained.anew:
            raise
        raise RecallMissed(
            f"{error}; it was trained for segment {plan.before.segment}: publish these rows with "
            "--index flat, then albeam index trains anew"
        ) from error


def _scanned(settings: tuple[Setting, ...]) -> str:
    """What to say of an index that is not searched, as it misses the target."""
    if not settings or settings[0].value:
        return ""
    return ", which misses the target: each search scans all float16 vectors"


def _reuse(plan: IndexPlan, trained: Trained) -> str:
    """What to say of an older segment's trained index."""
    if plan.before is None:
        return ""
    if trained.anew:
        return (
            f", trained anew: its rows lie {trained.drift:.2f} times as far off the centres of "
            f"segment {plan.before.segment} as those"
        )
    said = f", trained for segment {plan.before.segment}"
    if trained.drift is not None:
        said += f", and off these rows {trained.drift:.2f} times as far as its own"
    return said


def write_questions(paths: SegmentPaths, vectors: Vectors) -> IndexFile:
    """Write the vectors of questions, ``[n, dim]``, for the recall of an index."""
    with filesystem.put_by_content(paths.index, "questions", ".npy") as written:
        _save(written.path, vectors.astype(np.float16))
    return _file(written)


def settle_index(
    paths: SegmentPaths, options: IndexOptions, questions: IndexFile | None, info: IndexInfo
) -> IndexFile:
    """Write what a manifest would say of an index into a file beside it, or adopt what stands."""
    url = filesystem.join(paths.index, index_name(options, questions))
    filesystem.create_exclusively(url, info.to_json())
    standing = settled_index(paths, options, questions)
    assert standing is not None
    return standing


def write_index_info(paths: SegmentPaths, info: IndexInfo) -> IndexFile:
    """Write what a manifest would say of an index into a file named by its content."""
    with (
        filesystem.put_by_content(paths.index, "index", ".json") as written,
        open(written.path, "wb") as file,
    ):
        file.write(info.to_json())
    return _file(written)


def settled_index(
    paths: SegmentPaths, options: IndexOptions, questions: IndexFile | None
) -> IndexFile | None:
    """The file that an earlier run with the same options left, if any."""
    name = index_name(options, questions)
    try:
        content = filesystem.read_bytes(filesystem.join(paths.index, name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return IndexFile(name, len(content), filesystem.digest(content))


def index_name(options: IndexOptions, questions: IndexFile | None) -> str:
    """The file that says what an index of these options is."""
    asked = questions.sha256 if questions is not None else ""
    return f"index-{segment_name(asdict(options) | {'questions': asked})}.json"


def _shard_number(built: BuiltShard) -> int:
    return built.shard.number


def _sample_number(sample: ShardSample) -> int:
    return sample.number


def _ordered(samples: Sequence[ShardSample]) -> list[ShardSample]:
    return sorted(samples, key=_sample_number)


def _within(rows: Rows, first: int, stop: int) -> Rows:
    return rows[(rows >= first) & (rows < stop)]


def _save(path: str, rows: Raw) -> None:
    # `np.save` does not say why it could not write: that the disk is full.
    form = np.lib.format
    rows = np.ascontiguousarray(rows)
    with open(path, "wb") as file:
        form.write_array_header_1_0(file, form.header_data_from_array_1_0(rows))
        file.write(rows.data)


def _finite(paths: SegmentPaths, shard: ShardPlan) -> Iterator[Vectors]:
    """A shard's vectors, all of them finite and as many as there should be."""
    first = shard.first_row
    for chunk in read_vectors(paths, shard.parts):
        wrong = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(wrong):
            raise Damaged(
                f"the vector of row {first + int(wrong[0])} of {paths.root} is not finite; "
                "embed again into a new store"
            )
        first += len(chunk)
        yield chunk
    if first - shard.first_row != shard.rows:
        raise Damaged(
            f"the parts of {paths.root} have {first - shard.first_row} rows where their markers "
            f"say {shard.rows}; embed again into a new store"
        )


def _open_raw(
    paths: SegmentPaths, plan: IndexPlan, shard: ShardPlan, file: IndexFile, cache: str
) -> Raw:
    return open_raw(_fetch(paths, file, cache), shard.rows, plan.dim)


def _fetch(paths: SegmentPaths, file: IndexFile, cache: str) -> Path:
    url = filesystem.join(paths.index, file.name)
    return FileCache(Path(cache)).fetch(url, file.bytes, file.sha256)


def _file(written: filesystem.Written) -> IndexFile:
    return IndexFile(written.name, written.bytes, written.sha256)
