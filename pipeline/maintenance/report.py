"""Output of the maintenance commands."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.command_line.console import counted, format_recalls, print_json, print_table, say

if TYPE_CHECKING:
    from pipeline.maintenance.compact import CompactSummary
    from pipeline.maintenance.delete import DeleteSummary
    from pipeline.maintenance.index import IndexSummary
    from pipeline.maintenance.rollback import RollbackSummary
    from pipeline.maintenance.tune import TuneReport
    from pipeline.maintenance.vacuum import VacuumSummary
    from pipeline.maintenance.verify import VerifyReport

_SNAPSHOT_COLUMNS = (
    *("snapshot", "created", "command", "segments", "documents", "passages", "rejects"),
)


def print_deleted(summary: "DeleteSummary", as_json: bool) -> None:
    """Print what ``albeam delete`` did."""
    if as_json:
        print_json(asdict(summary))
        return
    unchanged = "" if summary.documents else " stays the newest"
    say(
        f"{summary.store}: {counted(summary.documents, 'document')} deleted "
        f"({counted(summary.passages, 'passage')}); snapshot {summary.snapshot}{unchanged}"
    )
    if summary.missing:
        some = ", ".join(map(repr, summary.missing_ids))
        more = ", …" if summary.missing > len(summary.missing_ids) else ""
        say(f"note: {counted(summary.missing, 'id')} not in the store: {some}{more}")


def print_rolled_back(summary: "RollbackSummary", number: int, as_json: bool) -> None:
    """Print what ``albeam rollback`` did; ``number`` is the old snapshot."""
    if as_json:
        print_json(asdict(summary))
        return
    say(
        f"{summary.store}: snapshot {summary.snapshot} has the content of {number}: "
        f"{counted(summary.documents, 'document')}"
    )


def print_vacuumed(summary: "VacuumSummary", as_json: bool) -> None:
    """Print what ``albeam vacuum`` removed; a dry run lists the names."""
    if as_json:
        print_json(asdict(summary))
        return
    if summary.dry_run:
        for number in summary.snapshots:
            say(f"snapshot {number}")
        for name in summary.names:
            say(name)
    verb = "would be removed" if summary.dry_run else "removed"
    say(
        f"{summary.store}: {counted(len(summary.snapshots), 'snapshot')}, "
        f"{counted(summary.files, 'file')}, {counted(summary.bytes, 'byte')} {verb}"
    )


def print_verified(report: "VerifyReport", as_json: bool) -> None:
    """Print what ``albeam verify`` checked."""
    if as_json:
        print_json(asdict(report))
        return
    say(
        f"{report.store}: snapshot {report.snapshot}, {counted(report.files, 'file')}, "
        f"{counted(report.passages, 'passage')}: sound"
    )
    if report.deep is not None:
        recut = f" ({report.deep.recut} by their whole documents)" if report.deep.recut else ""
        say(
            f"{counted(report.deep.sampled, 'vector')} computed again{recut}: lowest cosine "
            f"{report.deep.least_cosine:.6f}; recall@10 of the index {report.deep.recall:.3f}"
        )


def print_compacted(summary: "CompactSummary", as_json: bool) -> None:
    """Print what ``albeam compact`` did."""
    if as_json:
        print_json(asdict(summary))
        return
    if summary.notice:
        say(f"note: {summary.notice}")
    if summary.compacted:
        done = f" ({summary.parts_found_done} parts found done)" if summary.parts_found_done else ""
        say(
            f"{summary.store}: {summary.compacted:,} of {summary.segments_before:,} segments "
            f"merged into one{done}: {summary.documents:,} documents, "
            f"{summary.passages:,} passages, {summary.bytes:,} bytes in "
            f"{summary.seconds:.1f} seconds; snapshot {summary.snapshot}"
        )
        if summary.index_reason:
            say(f"index: {summary.index_reason}")


def print_tuned(report: "TuneReport", as_json: bool) -> None:
    """Print what ``albeam tune`` measured."""
    if as_json:
        print_json(asdict(report))
        return
    say(
        f"{report.store}: snapshot {report.snapshot}, {counted(report.passages, 'passage')}, "
        f"{', '.join(sorted(set(report.factories)))}; queries are {report.queries:,} stored "
        "vectors, which do not count as their own hits"
    )
    print_table(
        ("setting", "recall@10", "recall@100", "ms a query", ""),
        [
            (
                *(str(row.setting or "-"), f"{row.recall_at_10:.4f}", f"{row.recall_at_100:.4f}"),
                *(f"{row.milliseconds:.3f}", "<- used" if row.chosen else ""),
            )
            for row in report.rows
        ],
    )


def print_indexed(summary: "IndexSummary", as_json: bool) -> None:
    """Print what ``albeam index`` built."""
    if as_json:
        print_json(asdict(summary))
        return
    kinds = ", ".join(sorted(set(summary.factories.values()))) or "nothing"
    files = f" in {summary.shards} shards" if summary.shards > summary.segments else ""
    recalls = format_recalls(summary.recall, summary.recall_of_questions)
    say(
        f"{summary.store}: {kinds}{files} over {counted(summary.passages, 'passage')} in "
        f"{counted(summary.segments, 'segment')}, {summary.bytes:,} bytes, {recalls}, "
        f"lexical index {summary.lexical}, in {summary.seconds:.1f} seconds; "
        f"snapshot {summary.snapshot}"
    )


def print_snapshots(snapshots: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print the rows of ``albeam snapshots``; damaged snapshots follow the table."""
    if as_json:
        print_json(snapshots)
        return
    sound = [snapshot for snapshot in snapshots if "damaged" not in snapshot]
    print_table(_SNAPSHOT_COLUMNS, [_snapshot_cells(snapshot) for snapshot in sound])
    for snapshot in snapshots:
        if "damaged" in snapshot:
            say(f"snapshot {snapshot['snapshot']} is damaged: {snapshot['damaged']}")


def _snapshot_cells(snapshot: dict[str, Any]) -> list[str]:
    shown = snapshot | {
        "segments": len(snapshot["segments"]),
        "rejects": sum(snapshot["rejects"].values()),
    }
    return [str(shown[name]) for name in _SNAPSHOT_COLUMNS]
