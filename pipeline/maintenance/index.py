"""``albeam index``: new indexes for the live segments of a store."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import apache_beam as beam
import numpy as np
import numpy.typing as npt

from pipeline.maintenance.options import IndexCommandOptions
from pipeline.runners.launch import check_reachable, make_pipeline, pipeline_options, run_pipeline
from transforms.catalog.index_manifest import IndexFile, IndexInfo
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.leases import renew_claims
from transforms.catalog.manifest_json import decode
from transforms.catalog.options import ANALYZER_VERSION
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import Snapshot, read_segment, read_snapshot
from transforms.errors import Damaged
from transforms.index.build import CreateIndexInfo, IndexParts
from transforms.index.lexical.build import CreateLexicalInfo, IndexTexts, find_lexical_info
from transforms.index.options import DEFAULT_LANGUAGE, IndexOptions, LexicalOptions
from transforms.index.vector.index_files import find_index_info, write_questions
from transforms.index.vector.plan import IndexContext, plan_index
from transforms.index.vector.selection import check_index_options
from transforms.search.questions import recall_questions
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.file_cache import check_file
from transforms.storage.probe import probe_exclusive
from transforms.transactions.commits import commit_indexes


@dataclass(frozen=True)
class IndexSummary:
    """Result of a build.

    Attributes:
        store: URL of the store.
        snapshot: number of the snapshot with the new indexes.
        segments: number of segments with an index.
        passages: number of their passages, dead ones included.
        factories: FAISS factory of each segment.
        reasons: why each segment has that factory.
        shards: number of vector index files of all segments.
        bytes: size of all index files, lexical ones included.
        recall: recall@10 on stored vectors, of the worst segment.
        recall_of_questions: recall@10 on the given questions, or on sampled ones; None if search
            is exact.
        lexical: language of the lexical index, or ``none``.
        seconds: duration of the command.
    """

    store: str
    snapshot: int
    segments: int
    passages: int
    factories: dict[str, str]
    reasons: dict[str, str]
    shards: int
    bytes: int
    recall: float
    recall_of_questions: float | None
    lexical: str
    seconds: float


def run(
    store: str,
    options: IndexCommandOptions,
    notify: Callable[[str], object] = lambda _: None,
) -> IndexSummary:
    """Build indexes for every live segment, and publish all of them in one snapshot.

    Args:
        store: URL of the store.
        options: which indexes to build, and where.
        notify: gets one line per index before its work begins: which index, and why.

    Raises:
        BadInput: there is no store, or an option can't be used.
        Damaged: a part can't be read.
        RecallMissed: an index misses its recall target; the store is unchanged.
        Conflict: other writers were faster.
    """
    started = time.monotonic()
    check_reachable(options.runner, store)
    beam_options = pipeline_options(options.runner, options.beam_args)
    vector, lexical, questions = options.vector, options.lexical, options.recall_questions
    store = filesystem.absolute(store)
    snapshot = read_snapshot(store)
    probe_exclusive(store)
    if vector is not None:
        rows = max((ref.passages for ref in snapshot.segments), default=0)
        check_index_options(vector, snapshot.identity.dim, rows)
    vectors = None
    if questions is not None and vector is not None:
        vectors = _question_vectors(store, snapshot, questions)
    builder = _Builder(
        vector,
        _choose_language(store, snapshot, lexical) if lexical is not None else None,
        vectors,
        lambda: make_pipeline(options.runner, beam_options),
        notify,
    )
    segments = [SegmentPaths(store, ref.name) for ref in snapshot.segments]
    # The claims last until the end: a vacuum must not remove the first index while the last one
    # is being built.
    for paths in segments:
        paths.claim()
    with renew_claims(*segments):
        for paths, ref in zip(segments, snapshot.segments, strict=True):
            builder.build(paths, read_segment(store, ref))
        number = snapshot.number
        if builder.vector or builder.lexical:
            number = commit_indexes(store, builder.vector, "index", builder.lexical).number
    names = {ref.name for ref in snapshot.segments}
    refs = [ref for ref in read_snapshot(store, number).segments if ref.name in names]
    return _summary(store, number, [read_segment(store, ref) for ref in refs], started)


def _question_vectors(store: str, snapshot: Snapshot, questions: str) -> npt.NDArray[np.float32]:
    encoder = Store.open(store, snapshot.number).encoder
    return encoder.encode_texts(recall_questions(questions), snapshot.identity.query_prompt)


def _choose_language(store: str, snapshot: Snapshot, options: LexicalOptions) -> str:
    """Return the given language; without one, that of the first lexical index of the store."""
    infos = (read_segment(store, ref) for ref in snapshot.segments)
    existing = (info.lexical.language for info in infos if info.lexical is not None)
    return options.language or next(existing, DEFAULT_LANGUAGE)


@dataclass
class _Builder:
    """Builder of the indexes of one segment after another.

    Attributes:
        options: the vector index; None builds none.
        language: of the lexical index; None builds none.
        questions: vectors of the questions that the recall is measured on, too.
        make_pipeline: returns an empty pipeline.
        notify: gets a line before a build.
        vector: the built vector indexes, by segment.
        lexical: the built lexical indexes, by segment.
    """

    options: IndexOptions | None
    language: str | None
    questions: npt.NDArray[np.float32] | None
    make_pipeline: Callable[[], beam.Pipeline]
    notify: Callable[[str], object]
    vector: dict[str, IndexFile] = field(default_factory=dict)
    lexical: dict[str, IndexFile] = field(default_factory=dict)

    def build(self, paths: SegmentPaths, info: SegmentInfo) -> None:
        """Build what a segment lacks."""
        if self.options is not None:
            self.vector[info.name] = self._vector_index(paths, info, self.options)
        if self.language is not None and not _has_lexical(paths, info, self.language):
            self.lexical[info.name] = self._lexical_index(paths, info, self.language)

    def _vector_index(
        self, paths: SegmentPaths, info: SegmentInfo, options: IndexOptions
    ) -> IndexFile:
        questions = None if self.questions is None else write_questions(paths, self.questions)
        existing = find_index_info(paths, options, questions)
        if existing is not None and _is_intact(paths, existing):
            return existing
        dim = info.identity.dim
        plan = plan_index(info.parts, dim, options)
        if plan is not None:
            self.notify(f"segment {info.name}: {plan.why}")
        job = self.make_pipeline()
        _ = (
            _parts(job, info)
            | "IndexParts" >> IndexParts(paths, dim, options, IndexContext((), questions))
            | "CreateIndexInfo" >> CreateIndexInfo(paths, options, questions)
        )
        run_pipeline(job)
        built = find_index_info(paths, options, questions)
        assert built is not None
        if existing is not None and not _is_intact(paths, built):
            raise Damaged(
                "index of segment",
                info.name,
                "is damaged, and building it with the same options gave other bytes",
                "Build one with another --index or --recall-target",
            )
        return built

    def _lexical_index(self, paths: SegmentPaths, info: SegmentInfo, language: str) -> IndexFile:
        self.notify(f"segment {info.name}: lexical index of {info.rows:,} passages, {language}")
        job = self.make_pipeline()
        _ = (
            _parts(job, info)
            | "IndexTexts" >> IndexTexts(paths, language)
            | "CreateLexicalInfo" >> CreateLexicalInfo(paths)
        )
        run_pipeline(job)
        built = find_lexical_info(paths, language)
        assert built is not None
        return built


def _parts(job: beam.Pipeline, info: SegmentInfo) -> beam.PCollection[tuple[PartInfo, ...]]:
    return job | "Parts" >> beam.Create([info.parts]).with_output_types(tuple[PartInfo, ...])


def _has_lexical(paths: SegmentPaths, info: SegmentInfo, language: str) -> bool:
    lexical = info.lexical
    return (
        lexical is not None
        and lexical.language == language
        and lexical.analyzer == ANALYZER_VERSION
        and _are_intact(paths.lexical, lexical.files)
    )


def _is_intact(paths: SegmentPaths, described: IndexFile) -> bool:
    """Return whether all files of an existing vector index have the right bytes."""
    url = filesystem.join(paths.index, described.name)
    info = decode(filesystem.read_bytes(url), IndexInfo, url)
    return _are_intact(paths.index, info.files)


def _are_intact(folder: str, files: Iterable[IndexFile]) -> bool:
    try:
        for file in files:
            check_file(filesystem.join(folder, file.name), file.bytes, file.sha256)
    except Damaged:
        return False
    return True


def _summary(store: str, number: int, infos: list[SegmentInfo], started: float) -> IndexSummary:
    indexes = {info.name: info.index for info in infos if info.index is not None}
    lexicals = [info.lexical for info in infos if info.lexical is not None]
    recalls = [index.recall_of_questions for index in indexes.values()]
    return IndexSummary(
        store=store,
        snapshot=number,
        segments=len(infos),
        passages=sum(info.rows for info in infos),
        factories={name: index.factory for name, index in indexes.items()},
        reasons={name: index.why for name, index in indexes.items()},
        shards=sum(len(index.shards) for index in indexes.values()),
        bytes=sum(i.size for i in indexes.values()) + sum(i.size for i in lexicals),
        recall=min((index.recall for index in indexes.values()), default=1.0),
        recall_of_questions=min((each for each in recalls if each is not None), default=None),
        lexical=lexicals[0].language if lexicals else "none",
        seconds=round(time.monotonic() - started, 3),
    )
