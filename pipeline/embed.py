"""``albeam embed``: Parquet in; vectors, an index and a snapshot out."""

import time
from dataclasses import asdict, dataclass, replace

from pipeline.options import MODES, EmbedOptions
from pipeline.progress import show_progress
from pipeline.runners import counters, make_pipeline, pipeline_options, run_pipeline
from transforms import faiss_index, storage
from transforms.commits import check_identity
from transforms.embedding import AlbertEmbeddingHandler, EmbedPassages
from transforms.encoder import expected_rate, resolve_placement
from transforms.errors import BadInput
from transforms.indexing import BuildIndex, CommitSnapshot
from transforms.model import Model, ModelIdentity, Placement, find_model, options_for
from transforms.parquet import PartFormat
from transforms.passages import PassageOptions, SplitPassages, check_passage_options
from transforms.planning import Plan, check_ids, check_metadata, plan_parts
from transforms.segment import SegmentInfo, SegmentPaths, segment_name
from transforms.snapshot import (
    live_document_ids,
    newest_snapshot,
    read_segment,
    snapshot_of,
)
from transforms.source import ReadParts
from transforms.storage import FileInfo
from transforms.tokenizer import load_tokenizer
from transforms.writing import WriteParts


@dataclass(frozen=True)
class EmbedSummary:
    """What a run did, and what the store holds now of this input."""

    documents: int
    passages: int
    tokens: int
    rejects: dict[str, int]
    bytes: int
    seconds: float
    tokens_per_second: float
    parts: int
    parts_found_done: int
    model: str
    model_loads: int
    device: str
    dtype: str
    index: str
    recall: float | None
    store: str
    segment: str
    snapshot: int
    notice: str


def run(options: EmbedOptions) -> EmbedSummary:
    """Embed an input into a store.

    Raises:
        BadInput: input, options, model or store can't be used as given; nothing was changed.
        Damaged: the store's manifests can't be read.
        Conflict: other writers were faster.
    """
    started = time.monotonic()
    _check(options)
    beam_options = pipeline_options(options.runner, options.beam_args)
    pipeline = make_pipeline(options.runner, beam_options)
    store = storage.absolute(options.store)
    model = find_model(options.model)
    placement = resolve_placement(options.placement, model)
    tokenizer = load_tokenizer(model)
    identity = model.identity
    passages = PassageOptions(identity.max_tokens, options.stride, identity.passage_prompt)
    check_passage_options(passages, tokenizer)
    files = storage.list_inputs(tuple(storage.absolute(url) for url in options.inputs))
    parent = newest_snapshot(store)
    if parent is not None and options.mode == "append":
        check_identity(store, parent.identity, identity)
    paths = SegmentPaths(store, _name(options, identity, files))
    live = [ref.name for ref in parent.segments] if parent is not None else []
    if parent is not None and paths.name in live and (options.mode == "append" or len(live) == 1):
        ref = parent.segments[live.index(paths.name)]
        return _summary(options, model, placement, read_segment(store, ref), parent.number, started)
    others = parent.segments if parent is not None and options.mode == "append" else ()
    standing = paths.read_plan()
    rate = expected_rate(model, placement)
    plan = standing or plan_parts(files, options.columns, options.rows_per_part, rate)
    factory = faiss_index.choose_factory(options.index, identity.dim, plan.rows)
    # Others may have been committed since a standing plan was made.
    check_ids(plan, live_document_ids(store, others))
    check_metadata(plan, ((ref.name, read_segment(store, ref).metadata) for ref in others))
    plan = standing or _settle(paths, plan)
    if standing is not None and options.rows_per_part is not None:
        followed = f"the plan of an earlier run is followed: {len(plan.parts)} parts"
        model = replace(model, notice="; ".join(filter(None, [model.notice, followed])))
    done = paths.done_parts()
    form = PartFormat(identity, options.vector_dtype, plan.schema)
    # Workers find the very model that was checked here, or say that theirs is another.
    pinned = options_for(identity)
    handler = AlbertEmbeddingHandler(
        pinned, options.placement.device, options.placement.dtype
    ).for_tables()
    pending = [part.number for part in plan.parts if part.number not in done]
    _ = (
        pipeline
        | "ReadParts" >> ReadParts(paths, pending)
        | "SplitPassages" >> SplitPassages(pinned, passages)
        | "EmbedPassages" >> EmbedPassages(handler)
        | "WriteParts" >> WriteParts(paths, form)
        | "BuildIndex" >> BuildIndex(paths, len(plan.parts), form, factory)
        | "CommitSnapshot"
        >> CommitSnapshot(store, options.mode, checked=frozenset(ref.name for ref in others))
    )
    rows = sum(plan.parts[number].rows for number in pending)
    with show_progress(paths, len(plan.parts), len(done), rows):
        result = run_pipeline(pipeline)
    info = SegmentInfo.from_json(storage.read_bytes(paths.manifest), paths.manifest)
    return _summary(
        options,
        model,
        placement,
        info,
        snapshot_of(store, paths.name),
        started,
        found_done=len(done),
        model_loads=counters(result).get("model_loads", 0),
    )


def _check(options: EmbedOptions) -> None:
    if not options.store.strip() or not all(url.strip() for url in options.inputs):
        raise BadInput("the store or an input is blank; give a folder or URL for each")
    storage.check_exclusive(options.store)
    if options.mode not in MODES:
        raise BadInput(f"mode {options.mode!r} is not one of {', '.join(MODES)}")
    if options.vector_dtype not in ("float32", "float16"):
        raise BadInput(f"vector-dtype {options.vector_dtype!r} is not float32 or float16")
    if options.rows_per_part is not None and options.rows_per_part < 1:
        raise BadInput(f"rows-per-part {options.rows_per_part} is below 1; give auto or 1 or more")


def _name(options: EmbedOptions, identity: ModelIdentity, files: list[FileInfo]) -> str:
    return segment_name(
        {
            "files": [asdict(file) for file in files],
            "columns": asdict(options.columns),
            "identity": {**identity.to_dict(), "name": "", "revision": ""},
            "stride": options.stride,
            "dtype": options.placement.dtype,
            "vector_dtype": options.vector_dtype,
            "index": options.index,
        }
    )


def _settle(paths: SegmentPaths, plan: Plan) -> Plan:
    try:
        return paths.settle_plan(plan)
    except OSError as error:
        raise BadInput(
            f"store {paths.store!r} can't be written to: {error}; "
            "choose another place or change its permissions"
        ) from error


def _summary(
    options: EmbedOptions,
    model: Model,
    placement: Placement,
    info: SegmentInfo,
    snapshot: int,
    started: float,
    found_done: int | None = None,
    model_loads: int = 0,
) -> EmbedSummary:
    seconds = time.monotonic() - started
    tokens = info.total("tokens")
    index = info.index
    shards = index.shards if index is not None else ()
    rows = sum(shard.rows for shard in shards)
    live_already = found_done is None
    notice = model.notice
    if live_already:
        notice = f"this input is live already, in snapshot {snapshot}: nothing to do"
    return EmbedSummary(
        documents=info.total("documents"),
        passages=info.rows,
        tokens=tokens,
        rejects=info.rejects,
        bytes=info.total("bytes") + sum(shard.bytes for shard in shards),
        seconds=round(seconds, 3),
        tokens_per_second=0.0 if live_already else round(tokens / seconds, 1),
        parts=len(info.parts),
        parts_found_done=len(info.parts) if found_done is None else found_done,
        model=model.identity.name,
        model_loads=model_loads,
        device=placement.device,
        dtype=placement.dtype,
        index=index.factory if index is not None else "none",
        recall=sum(s.recall * s.rows for s in shards) / rows if rows else None,
        store=storage.absolute(options.store),
        segment=info.name,
        snapshot=snapshot,
        notice=notice,
    )
