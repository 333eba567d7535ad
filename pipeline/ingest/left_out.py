"""Refuse a sync that would remove documents only because their file is left out of the input."""

import pyarrow.compute as pc

from pipeline.command_line.console import counted
from pipeline.ingest.resolve import ResolvedJob
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.ingest.read_parts import read_ids
from transforms.ingest.survey import slices_of, survey_input
from transforms.storage.input_files import list_inputs, unlisted
from transforms.storage.listing import Listing
from transforms.transactions.buckets import read_buckets
from transforms.transactions.change_set import ChangeSet


def check_removals(
    job: ResolvedJob,
    listing: Listing,
    base: OpenSnapshot,
    paths: SegmentPaths,
    changes: ChangeSet,
) -> None:
    """Check that no document is removed because a rule of listing leaves out its file.

    An earlier version may have listed the file, or an earlier run may have named it.

    Raises:
        BadInput: such a document would be removed.
    """
    if changes.mode != "sync" or not changes.counts["removed"]:
        return
    known = [file.url for info in base.infos() for file in info.inputs]
    left_out = unlisted(job.inputs, listing, known)
    removed = _removed_ids(paths, changes) if left_out else set()
    for url in left_out:
        lost = len(removed & _read_ids(job, url))
        if lost:
            raise BadInput(
                "input file",
                url,
                f"is left out by a rule for inputs, but the store has {counted(lost, 'document')} "
                "of it, which this sync would remove",
                "To keep them, name the file as a further input; to remove them, move the file "
                "elsewhere or use albeam delete",
            )


def _removed_ids(paths: SegmentPaths, changes: ChangeSet) -> set[str]:
    found: set[str] = set()
    for table in read_buckets(paths, changes.buckets, ["document_id", "change"]):
        gone = table.filter(pc.equal(table.column("change"), "removed"))
        found.update(gone.column("document_id").to_pylist())
    return found


def _read_ids(job: ResolvedJob, url: str) -> set[str]:
    """Return the ids of an input file."""
    columns = job.options.columns
    plain = ColumnOptions(columns.id_column, columns.text_column)
    survey = survey_input(list_inputs((url,)), plain)
    return {
        name
        for piece in slices_of(survey)
        for table in read_ids(survey, piece)
        for name in table.column("document_id").to_pylist()
    }
