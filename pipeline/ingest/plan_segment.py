"""The third stage of ``albeam embed``: which parts the new segment has.

`pipeline.ingest.plan` is the command ``albeam plan``, which estimates a run.
"""

from dataclasses import dataclass, replace

from pipeline.ingest.diff import Difference, check_columns, survey_files
from pipeline.ingest.embed_summary import lost_columns
from pipeline.ingest.resolve import ResolvedJob
from transforms.catalog.integrity import intact_parts
from transforms.catalog.plan import Plan
from transforms.ingest.partitioning import plan_parts
from transforms.transactions.buckets import chosen_rows
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


def plan_segment(job: ResolvedJob, difference: Difference) -> SegmentPlan:
    """Create the plan of a segment, or return the plan of an earlier run.

    Raises:
        BadInput: the metadata columns do not fit those of the store.
        Stale: files of the change set are missing.
    """
    paths, base = difference.paths, difference.base
    existing = paths.read_plan()
    if existing is not None:
        existing.check_inputs(difference.listing.files, job.columns, paths.plan)
    plan = existing or paths.create_plan(_new_plan(job, difference))
    # Other segments may have been committed since an existing plan was made.
    check_columns(plan, base)
    notices = lost_columns(difference.changes, plan.schema, base.infos())
    if existing is not None and job.options.rows_per_part is not None:
        notices += (f"The run follows the plan of an earlier one, with {len(plan.parts)} parts.",)
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
