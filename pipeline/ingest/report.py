"""Print the results of `embed`, `plan` and `watch`."""

from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import (
    counted,
    duration,
    format_recalls,
    print_json,
    print_pairs,
    say,
)


def print_summary(summary: Any, as_json: bool) -> None:
    """Print an `EmbedSummary`."""
    value = asdict(summary)
    if as_json:
        print_json(value)
        return
    rejects = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejects.items())
    recall = (
        ""
        if summary.recall is None
        else f" ({format_recalls(summary.recall, summary.recall_of_questions)})"
    )
    done = f" ({summary.parts_found_done} already done)" if summary.parts_found_done else ""
    kinds = ("new", "changed", "metadata", "unchanged", "removed")
    became = ", ".join(f"{value[kind]:,} {kind}" for kind in kinds if value[kind])
    indexes = [
        ("index", f"{summary.index_reason or summary.index}{recall}"),
        ("lexical index", summary.lexical),
    ]
    rows = [
        ("documents", f"{summary.documents:,}" + (f" ({became})" if became else "")),
        ("passages", f"{summary.passages:,}"),
        ("tokens", f"{summary.tokens:,}"),
        ("rejects", rejects or "0"),
        *_left_out(summary.left_out),
        ("bytes", f"{summary.bytes:,}"),
        ("parts", f"{summary.parts:,}{done}"),
        ("seconds", f"{summary.seconds:.1f} ({duration(summary.seconds)})"),
        ("tokens/s", f"{summary.tokens_per_second:,.0f}"),
        ("model", summary.model),
        ("device, dtype", f"{summary.device}, {summary.dtype}"),
        # Only a written segment has indexes.
        *(indexes if summary.segment else ()),
        ("store", summary.store),
        ("snapshot", str(summary.snapshot)),
    ]
    if summary.notice:
        say(f"note: {summary.notice}")
    print_pairs(rows)


def print_plan(report: Any, as_json: bool) -> None:
    """Print a `PlanReport`."""
    from transforms.index.vector.selection import size_words as words

    if as_json:
        print_json(asdict(report))
        return
    rate, workers = f"{report.tokens_per_second:,.0f} tokens/s", counted(report.workers, "worker")
    rows = [
        ("rows", f"{report.rows:,} ({report.sampled:,} sampled, {report.rejects:,} rejects)"),
        *_left_out(report.left_out),
        ("passages", f"{report.passages:,}"),
        ("tokens", f"{report.tokens:,}"),
        ("parts", f"{report.parts:,} of {report.rows_per_part:,} rows; {report.files:,} files"),
        ("vectors", words(report.vector_bytes)),
        ("index", report.index_reason),
        (
            "index on disk",
            f"{words(report.index_bytes + report.raw_bytes)}, {counted(report.shards, 'shard')}",
        ),
        ("index to build", duration(report.build_seconds)),
        ("plan, manifest", f"{words(report.plan_bytes)}, {words(report.manifest_bytes)}"),
        ("shuffled", words(report.shuffle_bytes)),
        ("memory", f"{words(report.worker_bytes)} a worker; {words(report.shard_bytes)} a shard"),
        ("model", f"{report.model}, {report.device}, {report.dtype}"),
        ("speed", f"{rate} a worker, {report.speed}"),
        (
            "time",
            f"{duration(report.embed_seconds)} to embed with {workers}, runner {report.runner}",
        ),
        ("cost", "give --price-per-hour" if report.cost is None else f"{report.cost:,.2f}"),
    ]
    print_pairs(rows)


def _left_out(reasons: dict[str, int]) -> list[tuple[str, str]]:
    """Return the row about what was left out of the input, if anything was."""
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return [("left out", listed)] if listed else []


def print_watched(done: Any, as_json: bool) -> None:
    """Print a `WatchSummary`."""
    if as_json:
        print_json(asdict(done))
        return
    say(
        f"{done.store}: snapshot {done.snapshot}, {counted(done.files, 'file')} taken, "
        f"{len(done.rejected)} rejected, searchable within {done.freshness:.1f} s"
    )
