"""``albeam index``: another index for the vectors that a store has."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import apache_beam as beam

from pipeline.runners.launch import check_reachable, make_pipeline, pipeline_options, run_pipeline
from transforms.catalog.index_manifest import IndexFile, IndexInfo
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.leases import renew_claims
from transforms.catalog.manifest_json import decode
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import Snapshot, read_segment, read_snapshot
from transforms.errors import BadInput, Damaged
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
from transforms.transactions.commits import commit_indexes


@dataclass(frozen=True)
class IndexSummary:
    """What was built.

    Attributes:
        segments: how many got an index.
        passages: theirs, dead ones counted.
        factories: FAISS factories, by segment.
        reasons: why those, by segment.
        shards: files that hold the rows, of all segments.
        bytes: of all index files, lexical ones too.
        recall: recall@10 of the worst segment, on stored vectors.
        recall_of_questions: the same on the questions that were given, or on made ones; None where
            search is exact.
        lexical: the language of the lexical index, or ``none``.
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
    options: IndexOptions | None,
    runner: str = "direct",
    beam_args: tuple[str, ...] = (),
    questions: str | None = None,
    tell: Callable[[str], object] | None = None,
    lexical: LexicalOptions | None = None,
) -> IndexSummary:
    """Build an index of every live segment, and make them live together.

    Args:
        store: the store.
        options: which index, and what it must reach; None leaves it as it is.
        runner: ``direct``, or a Beam runner's name.
        beam_args: Beam's own options.
        questions: a file of questions for which it must reach that too.
        tell: given a line for each segment before its work begins: which index, and why.
        lexical: gives segments that have no lexical index one, or all where the language is
            another; None leaves it as it is.

    Raises:
        BadInput: there is no store, or the options can't be used.
        Damaged: a part can't be read.
        RecallMissed: an index does not find what was asked for; the store is as it was.
        Conflict: other writers were faster.
    """
    started = time.monotonic()
    check_reachable(runner, store)
    beam_options = pipeline_options(runner, beam_args)
    store = filesystem.absolute(store)
    snapshot = read_snapshot(store)
    filesystem.probe_exclusive(store)
    rows = max((ref.passages for ref in snapshot.segments), default=0)
    if options is not None:
        if options.index == "none":
            raise BadInput(
                "index none builds nothing; give auto, flat, hnsw, ivf, ivfpq or a factory"
            )
        check_index_options(options, snapshot.identity.dim, rows)
    if lexical is not None and lexical.lexical == "none":
        raise BadInput("lexical none builds nothing; give auto, or leave --lexical out")
    vectors = None
    if questions is not None and options is not None:
        prompt = snapshot.identity.query_prompt
        opened = Store.open(store, snapshot.number)
        vectors = opened.encoder.encode_texts(recall_questions(questions), prompt)
    made: dict[str, IndexFile] = {}
    texts: dict[str, IndexFile] = {}
    language = _language(store, snapshot, lexical) if lexical is not None else None
    every = [SegmentPaths(store, ref.name) for ref in snapshot.segments]
    # All of them until the end: a vacuum must not take the first while the last is built.
    for paths in every:
        paths.claim()
    with renew_claims(*every):
        for paths, ref in zip(every, snapshot.segments, strict=True):
            info = read_segment(store, ref)

            def pipeline() -> beam.Pipeline:
                return make_pipeline(runner, beam_options)

            if options is not None:
                asked = write_questions(paths, vectors) if vectors is not None else None
                made[ref.name] = _index(paths, info, options, asked, pipeline, tell)
            if language is not None and not _has_lexical(paths, info, language):
                texts[ref.name] = _index_texts(paths, info, language, pipeline, tell)
        number = snapshot.number
        if made or texts:
            number = commit_indexes(store, made, "index", texts).number
    names = {ref.name for ref in snapshot.segments}
    ours = [ref for ref in read_snapshot(store, number).segments if ref.name in names]
    infos = [read_segment(store, ref) for ref in ours]
    indexes = {info.name: info.index for info in infos if info.index is not None}
    recalls = [index.recall_of_questions for index in indexes.values()]
    of_questions = [each for each in recalls if each is not None]
    lexicals = [info.lexical for info in infos if info.lexical is not None]
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
        recall_of_questions=min(of_questions, default=None),
        lexical=lexicals[0].language if lexicals else "none",
        seconds=round(time.monotonic() - started, 3),
    )


def _index(
    paths: SegmentPaths,
    info: SegmentInfo,
    options: IndexOptions,
    asked: IndexFile | None,
    pipeline: Callable[[], beam.Pipeline],
    tell: Callable[[str], object] | None,
) -> IndexFile:
    """Build a segment's index, if it does not stand; the file that says what it is."""
    existing = find_index_info(paths, options, asked)
    if existing is not None and _is_whole(paths, existing):
        return existing
    dim = info.identity.dim
    plan = plan_index(info.parts, dim, options)
    if tell is not None and plan is not None:
        tell(f"segment {info.name}: {plan.why}")
    job = pipeline()
    parts = job | "Parts" >> beam.Create([info.parts]).with_output_types(tuple[PartInfo, ...])
    _ = (
        parts
        | "IndexParts" >> IndexParts(paths, dim, options, IndexContext((), asked))
        | "CreateIndexInfo" >> CreateIndexInfo(paths, options, asked)
    )
    run_pipeline(job)
    found = find_index_info(paths, options, asked)
    assert found is not None
    if existing is not None and not _is_whole(paths, found):
        raise Damaged(
            f"segment {info.name} has a damaged index, and the same options gave other "
            "bytes now; build another with another --index or --recall-target"
        )
    return found


def _index_texts(
    paths: SegmentPaths,
    info: SegmentInfo,
    language: str,
    pipeline: Callable[[], beam.Pipeline],
    tell: Callable[[str], object] | None,
) -> IndexFile:
    """Build a segment's lexical index; the file that says what it is."""
    if tell is not None:
        tell(f"segment {info.name}: lexical index of {info.rows:,} passages, {language}")
    job = pipeline()
    parts = job | "Parts" >> beam.Create([info.parts]).with_output_types(tuple[PartInfo, ...])
    _ = (
        parts
        | "IndexTexts" >> IndexTexts(paths, language)
        | "CreateLexicalInfo" >> CreateLexicalInfo(paths)
    )
    run_pipeline(job)
    found = find_lexical_info(paths, language)
    assert found is not None
    return found


def _language(store: str, snapshot: Snapshot, options: LexicalOptions) -> str:
    """The language that is wanted; without one, that of the first lexical index."""
    infos = (read_segment(store, ref) for ref in snapshot.segments)
    theirs = (info.lexical.language for info in infos if info.lexical is not None)
    return options.language or next(theirs, DEFAULT_LANGUAGE)


def _has_lexical(paths: SegmentPaths, info: SegmentInfo, language: str) -> bool:
    lexical = info.lexical
    return (
        lexical is not None
        and lexical.language == language
        and _all_whole(paths.lexical, lexical.files)
    )


def _is_whole(paths: SegmentPaths, described: IndexFile) -> bool:
    """Whether all files of an index that an earlier run built have the bytes that they should."""
    url = filesystem.join(paths.index, described.name)
    info = decode(filesystem.read_bytes(url), IndexInfo, url)
    return _all_whole(paths.index, info.files)


def _all_whole(folder: str, files: Iterable[IndexFile]) -> bool:
    """Whether files have the bytes that they should."""
    try:
        for file in files:
            check_file(filesystem.join(folder, file.name), file.bytes, file.sha256)
    except Damaged:
        return False
    return True
