"""``albeam embed``: Parquet in; vectors, an index and a snapshot out.

A run has four stages that pass values: resolve the options, diff the input with the store, plan the
parts to write, and execute the plan.
"""

import time
from dataclasses import replace

from pipeline.ingest.diff import Difference, diff
from pipeline.ingest.embed_summary import EmbedSummary, Outcome, summarize
from pipeline.ingest.execute import execute
from pipeline.ingest.options import EmbedOptions
from pipeline.ingest.plan_segment import plan_segment
from pipeline.ingest.resolve import ResolvedJob, check_places, new_pipeline, resolve
from transforms.errors import Stale
from transforms.transactions.buckets import remove_buckets
from transforms.transactions.commits import commit_removals
from transforms.transactions.resume import abandon


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
    # Checks the runner before anything is read.
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
        f"Nothing to do: this input is already in snapshot {snapshot}. To re-embed with another "
        "--stride or --vector-dtype, use --mode replace."
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
