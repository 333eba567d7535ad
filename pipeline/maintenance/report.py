"""What the maintenance commands print."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import (
    counted,
    format_cells,
    format_recalls,
    print_json,
    print_table,
)


def print_deleted(summary: Any, as_json: bool) -> None:
    """A `DeleteSummary`."""
    if as_json:
        print_json(asdict(summary))
        return
    still = "" if summary.documents else " stays the newest"
    print(
        f"{summary.store}: {counted(summary.documents, 'document')} deleted "
        f"({counted(summary.passages, 'passage')}); snapshot {summary.snapshot}{still}"
    )
    if summary.missing:
        some = ", ".join(map(repr, summary.missing_ids))
        more = ", …" if summary.missing > len(summary.missing_ids) else ""
        were = "was" if summary.missing == 1 else "were"
        print(f"note: {counted(summary.missing, 'id')} {were} not there: {some}{more}")


def print_vacuumed(summary: Any, as_json: bool) -> None:
    """A `VacuumSummary`; a dry run names what would go."""
    if as_json:
        print_json(asdict(summary))
        return
    if summary.dry_run:
        for number in summary.snapshots:
            print(f"snapshot {number}")
        for name in summary.names:
            print(name)
    verb = "would be removed" if summary.dry_run else "removed"
    print(
        f"{summary.store}: {counted(len(summary.snapshots), 'snapshot')}, "
        f"{counted(summary.files, 'file')}, {counted(summary.bytes, 'byte')} {verb}"
    )


def print_verified(report: Any, as_json: bool) -> None:
    """A `VerifyReport`."""
    if as_json:
        print_json(asdict(report))
        return
    print(
        f"{report.store}: snapshot {report.snapshot}, {counted(report.files, 'file')}, "
        f"{counted(report.passages, 'passage')}: sound"
    )
    if report.deep is not None:
        print(
            f"{counted(report.deep.sampled, 'vector')} made again: least cosine "
            f"{report.deep.least_cosine:.6f}; recall@10 of the index {report.deep.recall:.3f}"
        )


def print_compacted(summary: Any, as_json: bool) -> None:
    """A `CompactSummary`."""
    if as_json:
        print_json(asdict(summary))
        return
    if summary.notice:
        print(f"note: {summary.notice}")
    if summary.compacted:
        done = f" ({summary.parts_found_done} parts found done)" if summary.parts_found_done else ""
        print(
            f"{summary.store}: {summary.compacted:,} of {summary.segments_before:,} segments "
            f"written again as one{done}: {summary.documents:,} documents, "
            f"{summary.passages:,} passages, {summary.bytes:,} bytes in "
            f"{summary.seconds:.1f} seconds; snapshot {summary.snapshot}"
        )
        if summary.index_reason:
            print(f"index: {summary.index_reason}")


def print_tuned(report: Any, as_json: bool) -> None:
    """A `TuneReport`."""
    if as_json:
        print_json(asdict(report))
        return
    print(
        f"{report.store}: snapshot {report.snapshot}, {counted(report.passages, 'passage')}, "
        f"{', '.join(sorted(set(report.factories)))}; {report.queries:,} of its vectors, each left "
        "out of its own answer"
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


def print_indexed(summary: Any, as_json: bool) -> None:
    """An `IndexSummary`."""
    if as_json:
        print_json(asdict(summary))
        return
    kinds = ", ".join(sorted(set(summary.factories.values()))) or "nothing"
    files = f" in {summary.shards} shards" if summary.shards > summary.segments else ""
    print(
        f"{summary.store}: {kinds}{files} over {counted(summary.passages, 'passage')} in "
        f"{counted(summary.segments, 'segment')}, {summary.bytes:,} bytes, "
        f"{format_recalls(summary)}, lexical index {summary.lexical}, "
        f"in {summary.seconds:.1f} seconds; "
        f"snapshot {summary.snapshot}"
    )


def print_snapshots(snapshots: Sequence[dict[str, Any]], as_json: bool) -> None:
    """The rows of ``albeam snapshots``."""
    if as_json:
        print_json(snapshots)
        return
    names = ("snapshot", "created", "command", "segments", "documents", "passages", "rejects")
    sound = [snapshot for snapshot in snapshots if "damaged" not in snapshot]
    print_table(names, [format_cells(snapshot, names) for snapshot in sound])
    for snapshot in snapshots:
        if "damaged" in snapshot:
            print(f"snapshot {snapshot['snapshot']} is damaged: {snapshot['damaged']}")
