"""The second stage of embed: compare the input with the store, and write down the change set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pipeline.ingest.left_out import check_removals
from pipeline.ingest.resolve import ResolvedJob, new_pipeline
from pipeline.runners.launch import run_pipeline
from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.leases import renew_claims
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.plan import Plan
from transforms.catalog.segment import check_metadata
from transforms.catalog.snapshot import newest_snapshot
from transforms.errors import BadInput, Conflict, Stale
from transforms.index.lexical.build import choose_language
from transforms.ingest.survey import Survey, survey_input
from transforms.storage import filesystem, input_files
from transforms.storage.filesystem import FileInfo
from transforms.storage.listing import Listing
from transforms.storage.probe import probe_exclusive
from transforms.transactions.buckets import gather_changes, remove_buckets
from transforms.transactions.change_set import ChangeSet, create_change_set
from transforms.transactions.commits import check_identity
from transforms.transactions.diff import check_duplicates
from transforms.transactions.diff_job import CompareDocuments, Comparison
from transforms.transactions.resume import choose_generation


@dataclass(frozen=True)
class Difference:
    """The difference between an input and a store.

    Attributes:
        listing: the input files.
        base: the snapshot that the run builds on; an empty one in mode ``replace``.
        paths: the folder that the run works in.
        changes: what the run changes.
        survey: the survey of the input; None if the run follows the change set of an earlier run.
        live: the number of the snapshot that already has these changes; 0 if none has.
        writes_segment: whether a segment is written; otherwise there are at most tombstones.
    """

    listing: Listing
    base: OpenSnapshot
    paths: SegmentPaths
    changes: ChangeSet
    survey: Survey | None = None
    live: int = 0
    writes_segment: bool = True


def diff(job: ResolvedJob) -> Difference:
    """Compare the input with the store, or find the comparison of an earlier run.

    Raises:
        BadInput: the input or the store can't be used; the store did not change.
        Conflict: another run works on the same input.
    """
    options = job.options
    listing = input_files.find_inputs(job.inputs, job.store)
    probe_exclusive(job.store)
    newest = newest_snapshot(job.store)
    base = OpenSnapshot(job.store, newest if options.mode != "replace" else None)
    if base.snapshot is not None:
        check_identity(job.store, base.snapshot.identity, job.identity)
    # Checks the language before documents are compared.
    choose_language(options.lexical, base.infos())
    name = _fingerprint(job, listing.files)
    found = choose_generation(job.store, name, options.mode, newest, options.resume)
    paths, changes = found.paths, found.changes
    if changes is not None and found.live:
        assert newest is not None
        live = OpenSnapshot(job.store, newest)
        return Difference(listing, live, paths, changes, live=newest.number, writes_segment=False)
    if changes is not None:
        paths.claim()
        return Difference(listing, base, paths, changes)
    survey = survey_files(job, listing.files, base)
    changes = _compare(job, Comparison(paths, survey, base, options.mode, options.on_duplicate))
    try:
        check_removals(job, listing, base, paths, changes)
    except BadInput:
        remove_buckets(paths)
        raise
    if base.snapshot is not None and not changes.writes_documents:
        return Difference(listing, base, paths, changes, survey, writes_segment=False)
    changes = create_change_set(paths, changes)
    if (changes.mode, changes.base > 0) != (options.mode, base.snapshot is not None):
        raise Conflict(
            "store",
            job.store,
            f"a run with the same input and --mode {changes.mode} has just begun",
            "Run again when it has ended",
        )
    return Difference(listing, base, paths, changes, survey)


def survey_files(job: ResolvedJob, files: Sequence[FileInfo], base: OpenSnapshot) -> Survey:
    """Survey the input, and check that its metadata columns fit those of the store."""
    stored = [info.metadata for info in base.infos()]
    survey = survey_input(list(files), job.columns, stored)
    check_columns(survey, base)
    return survey


def check_columns(plan: Plan | Survey, base: OpenSnapshot) -> None:
    """Raise BadInput if metadata columns have other types than in the store."""
    check_metadata(plan.schema, ((info.name, info.metadata) for info in base.infos()))


def _fingerprint(job: ResolvedJob, files: Sequence[FileInfo]) -> str:
    options = job.options
    return segment_name(
        {
            "files": [asdict(file) for file in files],
            "columns": job.columns.to_dict(),
            "identity": {**job.identity.to_dict(), "name": "", "revision": ""},
            "stride": options.stride,
            "dtype": options.placement.dtype,
            "vector_dtype": options.vector_dtype,
            "on_duplicate": options.on_duplicate,
        }
    )


def _compare(job: ResolvedJob, comparison: Comparison) -> ChangeSet:
    paths, survey = comparison.paths, comparison.survey
    try:
        filesystem.create_exclusively(comparison.lease, b"{}")
    except OSError as error:
        raise BadInput(
            "store",
            paths.store,
            f"can't be written to: {error}",
            "Choose another place or change its permissions",
        ) from error
    pipeline = new_pipeline(job.options)
    _ = pipeline | "CompareDocuments" >> CompareDocuments(comparison)
    with renew_claims(paths):
        run_pipeline(pipeline)
    try:
        buckets = comparison.finished()
        if comparison.on_duplicate == "error":
            examples = [name for bucket in buckets for name in bucket.examples]
            duplicates = sum(bucket.twice for bucket in buckets)
            if duplicates:
                remove_buckets(paths)
            check_duplicates(examples, duplicates, survey.columns.id_column)
        return gather_changes(paths, comparison.base, comparison.mode, survey.rows, buckets)
    except Stale as error:
        # A run that finds nothing to do removes its comparison, which another run may share.
        raise Conflict(
            "store",
            paths.store,
            "another run has just compared the same input and removed the result",
            "Run again",
        ) from error
