"""Print the results of classify, evaluate-task and predict."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import (
    counted,
    duration,
    note,
    print_json,
    print_pairs,
    print_table,
    say,
)

#: What the rows of a task are called, where they are no documents.
_UNITS = {"tag": "text", "read": "question", "similar": "pair"}
#: What a network found nothing in.
_EMPTY = {"tag": "without entities", "read": "without answers"}
#: The most labels of a table.
_MOST_LABELS = 12


def print_head(summary: Any, as_json: bool) -> None:
    """Print a `ClassifySummary`."""
    if summary.notice:
        note(summary.notice)
    if as_json:
        print_json(asdict(summary))
        return
    by = "cross-validation" if summary.log_losses else "the default, or as given"
    print_pairs(
        [
            ("head", summary.output),
            ("documents", f"{summary.documents:,}"),
            ("classes", f"{summary.classes:,}"),
            ("strength", f"{summary.strength:g} ({by})"),
            ("seconds", f"{summary.seconds:.1f} ({summary.fit_seconds:.1f} to fit)"),
            ("store", summary.store),
            ("snapshot", str(summary.snapshot)),
        ]
    )
    if summary.metrics is not None:
        say()
        say(f"by a head like it, on {counted(summary.held_out, 'document')} held out")
        _print_metrics(summary.metrics)


def print_evaluation(found: Any, as_json: bool) -> None:
    """Print a `TaskEvaluation`."""
    if found.notice:
        note(found.notice)
    if as_json:
        print_json(asdict(found))
        return
    unit = _UNITS.get(found.task, "document")
    say(f"{counted(found.documents, unit)}; 95 % intervals by bootstrap")
    _print_metrics(found.metrics)
    if found.report is not None:
        say(f"wrote {found.report}")


def print_predictions(summary: Any, as_json: bool) -> None:
    """Print a `PredictSummary`."""
    if as_json:
        print_json(asdict(summary))
        return
    rejects = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejects.items())
    done = f" ({summary.parts_found_done} already done)" if summary.parts_found_done else ""
    labels: Mapping[str, int] = summary.labels
    most = sorted(labels.items(), key=lambda each: (-each[1], each[0]))
    rows = [
        ("questions" if summary.task == "read" else "documents", f"{summary.documents:,}"),
        *([(_EMPTY[summary.task], f"{summary.empty:,}")] if summary.task in _EMPTY else []),
        ("rejects", rejects or "0"),
        ("parts", f"{summary.parts:,}{done}"),
        ("seconds", f"{summary.seconds:.1f} ({duration(summary.seconds)})"),
    ]
    if summary.output is not None:
        rows.append(("output", summary.output))
    if summary.store is not None:
        rows.append(("store", summary.store))
        rows.append(("snapshot", str(summary.snapshot)))
    if summary.column is not None:
        rows.append(("column", summary.column))
    print_pairs(rows)
    if most:
        say()
        names = ("type", "entities") if summary.task == "tag" else ("label", "documents")
        print_table(names, [(name, f"{n:,}") for name, n in most[:_MOST_LABELS]])
        if len(most) > _MOST_LABELS:
            say(f"and {counted(len(most) - _MOST_LABELS, 'other label')}")


def _print_metrics(metrics: Any) -> None:
    rows = []
    for name, value in metrics.values.items():
        low, high = metrics.intervals.get(name, (None, None))
        rows.append((name, f"{value:.4f}" + ("" if low is None else f" [{low:.4f}, {high:.4f}]")))
    print_table(("metric", "value"), rows)
    counts = getattr(metrics, "counts", {})
    if counts.get("unanswerable"):
        say()
        print_table(
            ("questions", "number"),
            [(name.replace("_", " "), f"{count:,}") for name, count in counts.items()],
        )
    kind = "type" if hasattr(metrics, "types") else "class"
    qualities = getattr(metrics, "types", None) or getattr(metrics, "classes", {})
    if 0 < len(qualities) <= _MOST_LABELS:
        say()
        print_table(
            (kind, "precision", "recall", "f1", "support"),
            [
                (
                    *(name, f"{each.precision:.3f}", f"{each.recall:.3f}"),
                    *(f"{each.f1:.3f}", f"{each.support:,}"),
                )
                for name, each in qualities.items()
            ],
        )
