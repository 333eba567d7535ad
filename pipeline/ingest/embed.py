"""``albeam embed``: Parquet in; vectors, an index and a snapshot out.

A run has four stages that pass values: resolve the options, diff the input with the store, plan the
parts to write, and execute the plan.
"""

import time
from collections import Counter
from dataclasses import dataclass, replace

from pipeline.ingest.diff import Difference, check_columns, diff, survey_files
from pipeline.ingest.embed_graph import add_embedding
from pipeline.ingest.embed_summary import EmbedSummary, Outcome, lost_columns, summarize
from pipeline.ingest.options import EmbedOptions
from pipeline.ingest.resolve import ResolvedJob, check_places, new_pipeline, resolve
from pipeline.runners.launch import counters, run_pipeline
from pipeline.runners.progress import show_progress
from transforms.catalog.integrity import intact_parts
from transforms.catalog.leases import renew_claims
from transforms.catalog.parts import rejected_ids
from transforms.catalog.plan import Plan
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import snapshot_of
from transforms.encoder.encoder import load_encoder
from transforms.errors import Stale
from transforms.index.lexical.build import choose_language
from transforms.index.vector.index_files import write_questions
from transforms.index.vector.plan import IndexContext, reusable_indexes
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.passages import UNKNOWN_TEXTS
from transforms.search.questions import recall_questions
from transforms.storage import filesystem
from transforms.transactions.buckets import chosen_rows, count_changes, remove_buckets
from transforms.transactions.commits import commit_removals
from transforms.transactions.resume import abandon
from transforms.transactions.reuse_vectors import plan_carries

#: The kinds of change of documents that are embedded, or found to be rejects.
_EMBEDDED = frozenset({"new", "changed", "rejected"})


@dataclass(frozen=True)
class SegmentPlan:
    """The parts of a segment to write.

    Attributes:
        plan: all parts.
        done: the numbers of the parts that an earlier run finished.
        notices: sentences for the user.
    """

    plan: Plan
    done: set[int]
    notices: tuple[str, ...]


def run(options: EmbedOptions) -> EmbedSummary:
    """Embed an input into a store.

    Raises:
        BadInput: the input, the options, the model or the store can't be used; the store did not
            change.
        Damaged: the manifests of the store can't be read.
        Conflict: other writers committed first.
    """
    started = time.monotonic()
    check_places(options)
    # A missing runner is reported before any work.
    new_pipeline(options)
    job = resolve(options)
    difference = diff(job)
    changes = difference.changes
    if difference.writes_segment:
        outcome = _write_segment(job, difference)
    elif difference.live:
        outcome = _nothing_to_do(difference)
    else:
        outcome = _commit_removals(job, difference)
    summary = replace(
        summarize(job, changes, outcome, time.monotonic() - started),
        left_out=difference.listing.left_out,
    )
    if not difference.live:
        return summary
    # Documents that were new to the earlier run are unchanged now.
    return replace(
        summary, new=0, changed=0, metadata=0, removed=0, unchanged=summary.documents, tokens=0
    )


def _nothing_to_do(difference: Difference) -> Outcome:
    name = difference.paths.name
    [info] = [info for info in difference.base.infos() if info.name == name]
    return Outcome(
        difference.live,
        info,
        done_before={part.number for part in info.parts},
        notices=(_nothing_notice(difference.live),),
    )


def _nothing_notice(snapshot: int) -> str:
    return (
        f"nothing to do: this input is already in snapshot {snapshot}; to embed it again with "
        "another --stride or --vector-dtype, use --mode replace"
    )


def _commit_removals(job: ResolvedJob, difference: Difference) -> Outcome:
    """Commit the tombstones of a change set without new documents, if there are any."""
    changes, paths = difference.changes, difference.paths
    if changes.removes_rows:
        mode = job.options.mode
        made = commit_removals(job.store, paths.name, mode, "embed", job.identity, changes)
        outcome = Outcome(made.number)
    else:
        outcome = Outcome(changes.base, notices=(_nothing_notice(changes.base),))
    remove_buckets(paths)
    return outcome


def _write_segment(job: ResolvedJob, difference: Difference) -> Outcome:
    try:
        return execute(job, difference, plan_segment(job, difference))
    except Stale:
        abandon(difference.paths)
        raise


def plan_segment(job: ResolvedJob, difference: Difference) -> SegmentPlan:
    """Create the plan of a segment, or return the plan of an earlier run.

    Raises:
        BadInput: the metadata columns do not fit those of the store.
        Stale: files of the change set are missing.
    """
    paths, base = difference.paths, difference.base
    existing = paths.read_plan()
    plan = existing or paths.create_plan(_new_plan(job, difference))
    # Other segments may have been committed since an existing plan was made.
    check_columns(plan, base)
    notices = lost_columns(difference.changes, plan.schema, base.infos())
    if existing is not None and job.options.rows_per_part is not None:
        notices += (f"following the plan of an earlier run, with {len(plan.parts)} parts",)
    return SegmentPlan(plan, intact_parts(paths), notices)


def _new_plan(job: ResolvedJob, difference: Difference) -> Plan:
    paths, changes = difference.paths, difference.changes
    survey = difference.survey or survey_files(job, difference.listing.files, difference.base)
    chosen = None
    if sum(changes.counts[kind] for kind in _EMBEDDED) < survey.rows:
        chosen = chosen_rows(paths, changes, len(survey.files), _EMBEDDED)
    limit = job.options.rows_per_part
    plan = plan_parts(survey, limit, job.rate, chosen)
    carried = plan_carries(paths, survey, changes, len(plan.parts), limit)
    return replace(plan, parts=(*plan.parts, *carried))


def execute(job: ResolvedJob, difference: Difference, planned: SegmentPlan) -> Outcome:
    """Write the unfinished parts of a plan, index them and commit the segment.

    Raises:
        Stale: what the input was compared with no longer exists.
        AlbeamError: a worker failed.
    """
    paths, base, changes = difference.paths, difference.base, difference.changes
    plan, done = planned.plan, planned.done
    pipeline = new_pipeline(job.options)
    language = choose_language(job.options.lexical, base.infos())
    context = _index_context(job, difference)
    add_embedding(pipeline, job, paths, plan, done, context, language)
    rows = sum(part.rows for part in plan.parts if part.number not in done)
    with renew_claims(paths), show_progress(paths, len(plan.parts), len(done), rows):
        result = run_pipeline(pipeline)
    info = SegmentInfo.from_json(filesystem.read_bytes(paths.manifest), paths.manifest)
    snapshot = snapshot_of(job.store, paths.name)
    notices = planned.notices
    if base.snapshot is not None and snapshot > changes.base + 1:
        notices += (
            f"other writers have committed since snapshot {changes.base}, with which the input "
            "was compared; these counts do not include their changes",
        )
    counts = counters(result)
    return Outcome(
        snapshot,
        info,
        done,
        counts.get("model_loads", 0),
        _late_rejects(difference, info),
        notices,
        embedded=True,
        unknown_texts=counts.get(UNKNOWN_TEXTS, 0),
    )


def _late_rejects(difference: Difference, info: SegmentInfo) -> Counter[str]:
    """Count by kind of change the documents that were rejected after the comparison."""
    known = difference.changes.rejects
    reasons = {reason for reason, count in info.rejects.items() if count > known.get(reason, 0)}
    if not reasons or not difference.changes.base:
        return Counter()
    ids = rejected_ids(difference.paths, info.parts, reasons)
    return count_changes(difference.paths, difference.changes, ids)


def _index_context(job: ResolvedJob, difference: Difference) -> IndexContext:
    """Return the trained indexes of the store, and the embedded questions for the recall."""
    reusable = reusable_indexes(difference.base.infos())
    if job.options.recall_questions is None:
        return IndexContext(reusable)
    questions = recall_questions(job.options.recall_questions)
    encoder = load_encoder(job.model, job.placement)
    vectors = encoder.encode_texts(questions, job.identity.query_prompt)
    return IndexContext(reusable, write_questions(difference.paths, vectors))
