"""``albeam index``: another index for the vectors that a store has."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import apache_beam as beam

from pipeline.progress import claiming
from pipeline.runners import make_pipeline, pipeline_options, run_pipeline
from pipeline.search import recall_questions
from transforms import storage
from transforms.commits import commit_indexes
from transforms.errors import BadInput, Damaged
from transforms.file_cache import check_file
from transforms.index_building import settled_index, write_questions
from transforms.index_choice import IndexOptions, check_index_options
from transforms.index_info import IndexFile, IndexInfo
from transforms.index_plan import IndexHelp, plan_index
from transforms.indexing import IndexParts, SettleIndex
from transforms.segment import PartInfo, SegmentPaths, parse
from transforms.snapshot import read_segment, read_snapshot
from transforms.store import Store


@dataclass(frozen=True)
class IndexSummary:
    """What was built.

    Attributes:
        segments: how many got an index.
        passages: theirs, dead ones counted.
        factories: FAISS factories, by segment.
        reasons: why those, by segment.
        bytes: of all index files.
        recall: recall@10 of the worst segment.
    """

    store: str
    snapshot: int
    segments: int
    passages: int
    factories: dict[str, str]
    reasons: dict[str, str]
    bytes: int
    recall: float
    seconds: float


def run(
    store: str,
    options: IndexOptions,
    runner: str = "direct",
    beam_args: tuple[str, ...] = (),
    questions: str | None = None,
    tell: Callable[[str], object] | None = None,
) -> IndexSummary:
    """Build an index of every live segment, and make them live together.

    Args:
        store: the store.
        options: which index, and what it must reach.
        runner: ``direct``, or a Beam runner's name.
        beam_args: Beam's own options.
        questions: a file of questions for which it must reach that too.
        tell: given a line for each segment before its work begins: which index, and why.

    Raises:
        BadInput: there is no store, or the options can't be used.
        Damaged: a part can't be read.
        RecallMissed: an index does not find what was asked for; the store is as it was.
        Conflict: other writers were faster.
    """
    started = time.monotonic()
    beam_options = pipeline_options(runner, beam_args)
    store = storage.absolute(store)
    snapshot = read_snapshot(store)
    storage.probe_exclusive(store)
    rows = max((ref.passages for ref in snapshot.segments), default=0)
    if options.index == "none":
        raise BadInput("index none builds nothing; give auto, flat, hnsw, ivf, ivfpq or a factory")
    check_index_options(options, snapshot.identity.dim, rows)
    vectors = None
    if questions is not None:
        prompt = snapshot.identity.query_prompt
        opened = Store.open(store, snapshot.number)
        vectors = opened.encoder.encode_texts(recall_questions(questions), prompt)
    made: dict[str, IndexFile] = {}
    every = [SegmentPaths(store, ref.name) for ref in snapshot.segments]
    # All of them until the end: a vacuum must not take the first while the last is built.
    for paths in every:
        paths.claim()
    with claiming(*every):
        for paths, ref in zip(every, snapshot.segments, strict=True):
            asked = write_questions(paths, vectors) if vectors is not None else None
            settled = settled_index(paths, options, asked)
            whole = settled is not None and _is_whole(paths, settled)
            if not whole:
                parts_of = read_segment(store, ref).parts
                plan = plan_index(parts_of, snapshot.identity.dim, options)
                if tell is not None and plan is not None:
                    tell(f"segment {ref.name}: {plan.why}")
                pipeline = make_pipeline(runner, beam_options)
                parts = pipeline | "Parts" >> beam.Create([parts_of]).with_output_types(
                    tuple[PartInfo, ...]
                )
                helps = IndexHelp((), asked)
                _ = (
                    parts
                    | "IndexParts" >> IndexParts(paths, snapshot.identity.dim, options, helps)
                    | "SettleIndex" >> SettleIndex(paths, options, asked)
                )
                run_pipeline(pipeline)
            found = settled_index(paths, options, asked)
            assert found is not None
            if settled is not None and not whole and not _is_whole(paths, found):
                raise Damaged(
                    f"segment {ref.name} has a damaged index, and the same options gave other "
                    "bytes now; build another with another --index or --recall-target"
                )
            made[ref.name] = found
        number = commit_indexes(store, made, "index").number if made else snapshot.number
    ours = [ref for ref in read_snapshot(store, number).segments if ref.name in made]
    infos = [read_segment(store, ref) for ref in ours]
    return IndexSummary(
        store=store,
        snapshot=number,
        segments=len(infos),
        passages=sum(info.rows for info in infos),
        factories={info.name: info.index.factory for info in infos if info.index is not None},
        reasons={info.name: info.index.why for info in infos if info.index is not None},
        bytes=sum(info.index.size for info in infos if info.index is not None),
        recall=min((info.index.recall for info in infos if info.index is not None), default=1.0),
        seconds=round(time.monotonic() - started, 3),
    )


def _is_whole(paths: SegmentPaths, settled: IndexFile) -> bool:
    """Whether all files of an index that an earlier run built have the bytes that they should."""
    url = storage.join(paths.index, settled.name)
    info = parse(storage.read_bytes(url), url, IndexInfo.from_dict)
    try:
        for file in info.files:
            check_file(storage.join(paths.index, file.name), file.bytes, file.sha256)
    except Damaged:
        return False
    return True
