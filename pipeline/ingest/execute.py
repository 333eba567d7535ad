"""The last stage of ``albeam embed``: write the parts of a plan, index them, commit the segment."""

from collections import Counter

from pipeline.ingest.diff import Difference
from pipeline.ingest.embed_graph import add_embedding
from pipeline.ingest.embed_summary import Outcome
from pipeline.ingest.plan_segment import SegmentPlan
from pipeline.ingest.resolve import ResolvedJob, new_pipeline
from pipeline.runners.launch import counters, run_pipeline
from pipeline.runners.progress import show_progress
from transforms.catalog.leases import renew_claims
from transforms.catalog.parts import rejected_ids
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import snapshot_of
from transforms.encoder.load import load_passage_encoder
from transforms.index.lexical.build import choose_language
from transforms.index.vector.index_files import write_questions
from transforms.index.vector.plan import IndexContext, reusable_indexes
from transforms.ingest.passages import UNKNOWN_TEXTS
from transforms.search.questions import recall_questions
from transforms.storage import filesystem
from transforms.transactions.buckets import count_changes


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
            f"Other writers have committed since snapshot {changes.base}, with which the input "
            "was compared. These counts do not include their changes.",
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
    encoder = load_passage_encoder(job.model, job.placement)
    vectors = encoder.encode_texts(questions, job.identity.query_prompt)
    return IndexContext(reusable, write_questions(difference.paths, vectors))
