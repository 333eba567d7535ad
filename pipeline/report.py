"""What commands print: tables for people, JSON for programs."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.progress import duration


def print_json(value: Any) -> None:
    """One line of JSON; bytes in base64, other non-JSON values as text, NaN and infinity null."""
    print(json.dumps(_finite(value), default=_as_text, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def print_summary(summary: Any, as_json: bool) -> None:
    """An `EmbedSummary`."""
    value = asdict(summary)
    if as_json:
        print_json(value)
        return
    rejects = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejects.items())
    recall = "" if summary.recall is None else f" ({_recalls(summary)})"
    done = f" ({summary.parts_found_done} found done)" if summary.parts_found_done else ""
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
        ("bytes", f"{summary.bytes:,}"),
        ("parts", f"{summary.parts:,}{done}"),
        ("seconds", f"{summary.seconds:.1f} ({duration(summary.seconds)})"),
        ("tokens/s", f"{summary.tokens_per_second:,.0f}"),
        ("model", summary.model),
        ("device, dtype", f"{summary.device}, {summary.dtype}"),
        # Those of a segment that was written, where one was.
        *(indexes if summary.segment else ()),
        ("store", summary.store),
        ("snapshot", str(summary.snapshot)),
    ]
    if summary.notice:
        print(f"note: {summary.notice}")
    _print_pairs(rows)


def print_plan(report: Any, as_json: bool) -> None:
    """A `PlanReport`."""
    from transforms.index_choice import size_words as words

    if as_json:
        print_json(asdict(report))
        return
    rate, workers = f"{report.tokens_per_second:,.0f} tokens/s", counted(report.workers, "worker")
    rows = [
        ("rows", f"{report.rows:,} ({report.sampled:,} sampled, {report.rejects:,} rejects)"),
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
    _print_pairs(rows)


def print_weights(report: Any, as_json: bool) -> None:
    """A `WeightReport`."""
    if as_json:
        print_json(asdict(report))
        return
    rows = [(f"{weight:.2f}", f"{value:.4f}") for weight, value in report.mrr_at_10.items()]
    print_table(("weight", "mrr@10"), [list(row) for row in rows])
    print(
        f"{report.store}: weight {report.weight:.2f}, learnt from "
        f"{counted(report.questions, 'question')}; snapshot {report.snapshot}"
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


def print_run(summary: Any, as_json: bool) -> None:
    """A `RunSummary`."""
    if as_json:
        print_json(asdict(summary))
        return
    print(
        f"{summary.output}: {counted(summary.rows, 'row')} for "
        f"{counted(summary.questions, 'question')} to snapshot {summary.snapshot} of "
        f"{summary.store}, in {summary.seconds:.1f} seconds"
    )


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
        f"{_recalls(summary)}, lexical index {summary.lexical}, in {summary.seconds:.1f} seconds; "
        f"snapshot {summary.snapshot}"
    )


def _recalls(summary: Any) -> str:
    """Recall of stored vectors, and of questions where search is not exact."""
    asked = summary.recall_of_questions
    of_questions = "" if asked is None else f", of questions {asked:.3f}"
    return f"recall@10 {summary.recall:.3f}{of_questions}"


def print_snapshots(snapshots: Sequence[dict[str, Any]], as_json: bool) -> None:
    """The rows of ``albeam snapshots``."""
    if as_json:
        print_json(snapshots)
        return
    names = ("snapshot", "created", "command", "segments", "documents", "passages", "rejects")
    sound = [snapshot for snapshot in snapshots if "damaged" not in snapshot]
    print_table(names, [_cells(snapshot, names) for snapshot in sound])
    for snapshot in snapshots:
        if "damaged" in snapshot:
            print(f"snapshot {snapshot['snapshot']} is damaged: {snapshot['damaged']}")


def print_bench(report: dict[str, Any]) -> None:
    """The rows, targets and remaining figures of ``albeam bench``."""
    names = ("shape", "corpus", "system", "dtype", "tokens/s", "of peak", "padding", "cosine")
    rows = [
        (
            *(row["shape"], row["corpus"], row["system"], row["dtype"]),
            _number(row["tokens_per_second"], ",.0f"),
            _number(row["peak_share"], ".2f"),
            _number(row["padding"], ".1%"),
            _number(row["least_cosine"], ".6f"),
            row["note"],
        )
        for row in report["rows"]
    ]
    if rows:
        print_table((*names, "note"), rows)
    if "tokenizer" in report:
        found = report["tokenizer"]
        print(
            f"\ntokenizer  {found['tokens_per_second']:,.0f} tokens/s on one core, "
            f"{found['again_tokens_per_second']:,.0f} once their words are known"
        )
    if "memory" in report:
        pairs = zip(report["memory"]["rows"], report["memory"]["peak_bytes"], strict=True)
        peaks = ", ".join(f"{rows:,} rows {peak / 1e6:,.0f} MB" for rows, peak in pairs)
        print(f"\nmemory  {peaks}: ratio {report['memory']['ratio']:.3f}")
    if "store" in report:
        found = report["store"]
        print(
            f"\nstore  {found['rows']:,} rows embedded in {found['embed_seconds']:.0f} s; a sync "
            f"of the same in {found['unchanged_share']:.1%} of that, with 1 % changed in "
            f"{found['changed_share']:.1%}; {found['parts']:,} parts open in "
            f"{1000 * found['open_seconds']:.0f} ms"
        )
    if report["targets"]:
        verdicts = {True: "pass", False: "fail", None: "-"}
        print()
        print_table(
            ("target", "where", "bound", "measured", "verdict", "note"),
            [
                (
                    *(target["name"], target["where"]),
                    f"{'<=' if target['below'] else '>='} {target['bound']:,g}",
                    _number(target["measured"], ",.2f"),
                    *(verdicts[target["passed"]], target["note"]),
                )
                for target in report["targets"]
            ],
        )


def counted(number: int, name: str) -> str:
    """``1,000 files``, or ``1 file``."""
    return f"{number:,} {name}" + ("" if number == 1 else "s")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _cells(snapshot: dict[str, Any], names: Sequence[str]) -> list[str]:
    shown = snapshot | {
        "segments": len(snapshot["segments"]),
        "rejects": sum(snapshot["rejects"].values()),
    }
    return [str(shown[name]) for name in names]


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns as wide as they need to be, under their names."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def print_diagnosis(found: Any, as_json: bool) -> None:
    """A `Diagnosis`: a line for each thing, with what to do where it is missing."""
    if as_json:
        print_json(asdict(found))
        return
    wide = max(len(each.name) for each in found.findings)
    for each in found.findings:
        missing = "MISSING" if each.needed else "not here"
        said = each.found or f"{missing}: {each.remedy}"
        print(f"{each.name:<{wide}}  {said}")


def print_watched(done: Any, as_json: bool) -> None:
    """A `WatchSummary`."""
    if as_json:
        print_json(asdict(done))
        return
    print(
        f"{done.store}: snapshot {done.snapshot}, {counted(done.files, 'file')} taken, "
        f"{len(done.rejected)} rejected, searchable within {done.freshness:.1f} s"
    )
