"""``albeam embed``: Parquet in; vectors, an index and a snapshot out."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType

from pipeline.ingest.embed_graph import EmbedJob, add_embedding
from pipeline.ingest.embed_summary import EmbedSummary, change_notices, columns_left_out
from pipeline.ingest.options import MODES, EmbedOptions
from pipeline.runners.launch import (
    check_reachable,
    counters,
    make_pipeline,
    pipeline_options,
    run_pipeline,
)
from pipeline.runners.progress import show_progress
from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.leases import renew_claims
from transforms.catalog.parts import rejected_ids
from transforms.catalog.plan import Plan
from transforms.catalog.segment import SegmentInfo, check_metadata
from transforms.catalog.snapshot import Snapshot, newest_snapshot, read_segment, snapshot_of
from transforms.encoder.encoder import load_encoder
from transforms.encoder.placement import expected_rate, resolve_placement
from transforms.errors import BadInput, Conflict, Stale
from transforms.index.lexical.build import choose_language
from transforms.index.vector.index_files import write_questions
from transforms.index.vector.plan import IndexContext, reusable_indexes
from transforms.index.vector.selection import check_index_options
from transforms.ingest.options import PassageOptions
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.passages import check_passage_options
from transforms.ingest.survey import Survey, survey_input
from transforms.models.resolve import find_model
from transforms.models.tokenizer import load_tokenizer
from transforms.search.questions import recall_questions
from transforms.storage import filesystem, input_files
from transforms.transactions.change_set import (
    Changes,
    chosen_rows,
    count_changes,
    gather_changes,
    remove_buckets,
    settle_changes,
)
from transforms.transactions.commits import check_identity, commit_removals
from transforms.transactions.diff import ON_DUPLICATE, check_duplicates
from transforms.transactions.diff_job import CompareDocuments, Comparison
from transforms.transactions.resume import abandon, choose_generation
from transforms.transactions.reuse_vectors import plan_carries

#: A run that finds nothing to do removes its comparison, and with it what another one has so far.
_COMPARED_AT_ONCE = "another run compared the same input with {!r} just now; run again"
_OTHER_MODE = (
    "{!r}: a run with the same input and --mode {} began just now; run again when it has ended"
)
_NOTHING = (
    "this input is live already, in snapshot {}: nothing to do (another stride or vector-dtype "
    "changes nothing of what is there; --mode replace does)"
)


def run(options: EmbedOptions) -> EmbedSummary:
    """Embed an input into a store.

    Raises:
        BadInput: input, options, model or store can't be used as given; nothing was changed.
        Damaged: the store's manifests can't be read.
        Conflict: other writers were faster.
    """
    job = _prepare(options)
    newest = newest_snapshot(job.store)
    base = newest if options.mode != "replace" else None
    if base is not None:
        check_identity(job.store, base.identity, job.identity)
    # Another language than the store's is said before any work.
    choose_language(options.lexical, _live(job, base))
    generation = choose_generation(job.store, _name(job), options.mode, newest, options.resume)
    paths, changes = generation.paths, generation.changes
    if generation.live:
        assert newest is not None
        assert changes is not None
        [ref] = [ref for ref in newest.segments if ref.name == paths.name]
        info = read_segment(job.store, ref)
        notices = [_NOTHING.format(newest.number)]
        done = {part.number for part in info.parts}
        made = _summary(job, changes, info, newest.number, done, worked=False, notices=notices)
        # What was new to the run that did the work is there now.
        return replace(
            made, new=0, changed=0, metadata=0, removed=0, unchanged=made.documents, tokens=0
        )
    survey: Survey | None = None
    if changes is not None:
        paths.claim()
    else:
        survey = _survey(job, base)
        changes = _compare(job, Comparison(paths, survey, base, options.mode, options.on_duplicate))
        if base is not None and not changes.writes:
            return _remove(job, paths, changes)
        changes = settle_changes(paths, changes)
        if (changes.mode, changes.base > 0) != (options.mode, base is not None):
            raise Conflict(_OTHER_MODE.format(job.store, changes.mode))
    try:
        return _write(job, paths, changes, survey, base)
    except Stale:
        abandon(paths)
        raise


def _write(
    job: EmbedJob,
    paths: SegmentPaths,
    changes: Changes,
    survey: Survey | None,
    base: Snapshot | None,
) -> EmbedSummary:
    """Plan what is to be written, write it and make it live."""
    options = job.options
    standing = paths.read_plan()
    plan = standing or paths.create_plan(_plan(job, paths, changes, survey or _survey(job, base)))
    # Others may have been committed since a standing plan was made.
    _check_metadata(job.store, plan, base)
    infos = _live(job, base)
    notices = columns_left_out(changes, plan.schema, infos)
    if standing is not None and options.rows_per_part is not None:
        notices.append(f"the plan of an earlier run is followed: {len(plan.parts)} parts")
    done_before = intact_parts(paths)
    context = _index_context(job, paths, infos)
    loads = _embed(job, paths, plan, done_before, context, choose_language(options.lexical, infos))
    info = SegmentInfo.from_json(filesystem.read_bytes(paths.manifest), paths.manifest)
    number = snapshot_of(job.store, paths.name)
    if base is not None and number > changes.base + 1:
        notices.append(
            f"others have committed since snapshot {changes.base}, with which the input was "
            "compared: what they changed is not in these counts"
        )
    # What the comparison could not know: documents that were rejected while they were embedded.
    known = changes.rejects
    reasons = {reason for reason, count in info.rejects.items() if count > known.get(reason, 0)}
    late: Counter[str] = Counter()
    if reasons and changes.base:
        late = count_changes(paths, changes, rejected_ids(paths, info.parts, reasons))
    return _summary(job, changes, info, number, done_before, loads, late, notices)


def _live(job: EmbedJob, base: Snapshot | None) -> list[SegmentInfo]:
    return [read_segment(job.store, ref) for ref in (base.segments if base is not None else ())]


def _prepare(options: EmbedOptions) -> EmbedJob:
    started = time.monotonic()
    _check(options)
    # A runner that can't be had is said before any work.
    make_pipeline(options.runner, pipeline_options(options.runner, options.beam_args))
    model = find_model(options.model)
    placement = resolve_placement(options.placement, model)
    tokenizer = load_tokenizer(model)
    identity = model.identity
    passages = PassageOptions(identity.max_tokens, options.stride, identity.passage_prompt)
    check_passage_options(passages, tokenizer)
    check_index_options(options.index, identity.dim)
    files = input_files.list_inputs(tuple(filesystem.absolute(url) for url in options.inputs))
    store = filesystem.absolute(options.store)
    filesystem.probe_exclusive(store)
    return EmbedJob(options, store, model, placement, passages, files, started)


def _check(options: EmbedOptions) -> None:
    if not options.store.strip() or not all(url.strip() for url in options.inputs):
        raise BadInput("the store or an input is blank; give a folder or URL for each")
    filesystem.check_exclusive(options.store)
    check_reachable(options.runner, options.store, *options.inputs)
    if options.mode not in MODES:
        raise BadInput(f"mode {options.mode!r} is not one of {', '.join(MODES)}")
    if options.on_duplicate not in ON_DUPLICATE:
        raise BadInput(
            f"on-duplicate {options.on_duplicate!r} is not one of {', '.join(ON_DUPLICATE)}"
        )
    if options.vector_dtype not in ("float32", "float16"):
        raise BadInput(f"vector-dtype {options.vector_dtype!r} is not float32 or float16")
    if options.rows_per_part is not None and options.rows_per_part < 1:
        raise BadInput(f"rows-per-part {options.rows_per_part} is below 1; give auto or 1 or more")


def _name(job: EmbedJob) -> str:
    options = job.options
    return segment_name(
        {
            "files": [asdict(file) for file in job.files],
            "columns": asdict(options.columns),
            "identity": {**job.identity.to_dict(), "name": "", "revision": ""},
            "stride": options.stride,
            "dtype": options.placement.dtype,
            "vector_dtype": options.vector_dtype,
            "on_duplicate": options.on_duplicate,
        }
    )


def _survey(job: EmbedJob, base: Snapshot | None) -> Survey:
    survey = survey_input(job.files, job.options.columns)
    _check_metadata(job.store, survey, base)
    return survey


def _check_metadata(store: str, plan: Plan | Survey, base: Snapshot | None) -> None:
    refs = base.segments if base is not None else ()
    check_metadata(plan.schema, ((ref.name, read_segment(store, ref).metadata) for ref in refs))


def _compare(job: EmbedJob, comparison: Comparison) -> Changes:
    paths, survey = comparison.paths, comparison.survey
    try:
        filesystem.create_exclusively(comparison.lease, b"{}")
    except OSError as error:
        raise BadInput(
            f"store {paths.store!r} can't be written to: {error}; "
            "choose another place or change its permissions"
        ) from error
    pipeline = job.pipeline()
    _ = pipeline | "CompareDocuments" >> CompareDocuments(comparison)
    with renew_claims(paths):
        run_pipeline(pipeline)
    try:
        buckets = comparison.finished()
    except Stale as error:
        raise Conflict(_COMPARED_AT_ONCE.format(paths.store)) from error
    if comparison.on_duplicate == "error":
        examples = [name for bucket in buckets for name in bucket.examples]
        twice = sum(bucket.twice for bucket in buckets)
        if twice:
            remove_buckets(paths)
        check_duplicates(examples, twice, survey.columns.id_column)
    try:
        return gather_changes(paths, comparison.base, comparison.mode, survey.rows, buckets)
    except Stale as error:
        raise Conflict(_COMPARED_AT_ONCE.format(paths.store)) from error


def _plan(job: EmbedJob, paths: SegmentPaths, changes: Changes, survey: Survey) -> Plan:
    kinds = frozenset({"new", "changed", "rejected"})
    chosen = None
    if sum(changes.counts[kind] for kind in kinds) < survey.rows:
        chosen = chosen_rows(paths, changes, len(survey.files), kinds)
    rate = expected_rate(job.model, job.placement)
    limit = job.options.rows_per_part
    plan = plan_parts(survey, limit, rate, chosen)
    carried = plan_carries(paths, survey, changes, len(plan.parts), limit)
    return replace(plan, parts=(*plan.parts, *carried))


def _remove(job: EmbedJob, paths: SegmentPaths, changes: Changes) -> EmbedSummary:
    """Commit tombstones where nothing is to be written; where none are wanted, do nothing."""
    notices = []
    if changes.kills:
        mode = job.options.mode
        made = commit_removals(job.store, paths.name, mode, "embed", job.identity, changes)
        number = made.number
    else:
        number = changes.base
        notices = [_NOTHING.format(number)]
    remove_buckets(paths)
    return _summary(job, changes, None, number, worked=False, notices=notices)


def _index_context(
    job: EmbedJob, paths: SegmentPaths, infos: Iterable[SegmentInfo]
) -> IndexContext:
    """Return the store's trained indexes, and the embedded questions for the recall."""
    reusable = reusable_indexes(infos)
    if job.options.recall_questions is None:
        return IndexContext(reusable)
    questions = recall_questions(job.options.recall_questions)
    encoder = load_encoder(job.model, job.placement)
    vectors = encoder.encode_texts(questions, job.identity.query_prompt)
    return IndexContext(reusable, write_questions(paths, vectors))


def _embed(
    job: EmbedJob,
    paths: SegmentPaths,
    plan: Plan,
    done: set[int],
    context: IndexContext,
    language: str | None,
) -> int:
    """Do what is not done of a plan, and commit it; how often the model was loaded."""
    pipeline = job.pipeline()
    add_embedding(pipeline, job, paths, plan, done, context, language)
    rows = sum(part.rows for part in plan.parts if part.number not in done)
    with renew_claims(paths), show_progress(paths, len(plan.parts), len(done), rows):
        result = run_pipeline(pipeline)
    return counters(result).get("model_loads", 0)


def _summary(
    job: EmbedJob,
    changes: Changes,
    info: SegmentInfo | None,
    snapshot: int,
    found_done: Collection[int] = (),
    model_loads: int = 0,
    late: Mapping[str, int] = MappingProxyType({}),
    notices: Iterable[str] = (),
    worked: bool = True,
) -> EmbedSummary:
    """What a run did.

    ``info`` is the segment that it wrote, if any, of which it found the parts ``found_done``;
    ``late`` counts what became of documents in the comparison that were rejected later.
    """
    seconds = time.monotonic() - job.started
    counts = changes.counts
    written = info.total("documents") if info is not None else 0
    tokens = info.total("tokens") if info is not None else 0
    parts = info.parts if info is not None else ()
    fresh = tokens - sum(part.tokens for part in parts if part.number in found_done)
    index = info.index if info is not None else None
    lexical = info.lexical if info is not None else None
    return EmbedSummary(
        documents=written + counts["unchanged"],
        # Compared with nothing, all rows are new; those that were rejected later are not.
        new=counts["new"] - late.get("new", 0) if changes.base else written,
        changed=counts["changed"] - late.get("changed", 0),
        metadata=counts["metadata"],
        unchanged=counts["unchanged"],
        removed=counts["removed"],
        passages=(info.rows if info is not None else 0) + changes.kept_passages,
        tokens=tokens,
        rejects=info.rejects if info is not None else changes.rejects,
        bytes=info.size if info is not None else 0,
        seconds=round(seconds, 3),
        tokens_per_second=round(fresh / seconds, 1) if worked else 0.0,
        parts=len(parts),
        parts_found_done=len(found_done),
        model=job.identity.name,
        model_loads=model_loads,
        device=job.placement.device,
        dtype=job.placement.dtype,
        index=index.factory if index is not None else "none",
        index_reason=index.why if index is not None else "",
        recall=index.recall if index is not None else None,
        recall_of_questions=index.recall_of_questions if index is not None else None,
        lexical=lexical.language if lexical is not None else "none",
        store=job.store,
        segment=info.name if info is not None else "",
        snapshot=snapshot,
        notice="; ".join(
            filter(None, [job.model.notice, *change_notices(changes, late), *notices])
        ),
    )
