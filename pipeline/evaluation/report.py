"""Print the results of ``albeam evaluate`` and ``albeam compare``."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import counted, note, print_json, print_table, say
from transforms.evaluation.metrics import means


def print_metrics(evaluation: Any, as_json: bool) -> None:
    """Print the number of questions and the metrics of one mode."""
    [found] = evaluation.modes.values()
    if as_json:
        print_json(
            {
                "questions": len(evaluation.questions),
                "metrics": means(found.values),
                "intervals": found.intervals,
                **evaluation.checks.to_dict(),
            }
        )
        return
    _print_modes(evaluation)


def print_evaluation(evaluation: Any, as_json: bool) -> None:
    """Print the metrics of several modes, and the latency of searches."""
    if as_json:
        print_json(evaluation.to_dict())
        return
    _print_modes(evaluation)
    rows = [
        (mode, stage, *(f"{value:.1f}" for value in percentiles.values()))
        for mode, found in evaluation.modes.items()
        for stage, percentiles in found.latency.items()
    ]
    if rows:
        say()
        say("milliseconds, one question at a time")
        print_table(("mode", "stage", "median", "95 %", "99 %"), rows)


def _print_modes(evaluation: Any) -> None:
    say(f"{counted(len(evaluation.questions), 'question')}; 95 % intervals by bootstrap")
    modes: Mapping[str, Any] = evaluation.modes
    names = dict.fromkeys(name for found in modes.values() for name in found.values)
    print_table(
        ("", *modes),
        [(name, *(_cell(found, name) for found in modes.values())) for name in names],
    )


def _cell(found: Any, name: str) -> str:
    if name not in found.values:
        return "-"
    low, high = found.intervals[name]
    return f"{found.values[name].mean():.4f} [{low:.4f}, {high:.4f}]"


def print_comparison(comparison: Any, as_json: bool) -> None:
    """Print a `Comparison`."""
    if comparison.notice:
        note(comparison.notice)
    if as_json:
        print_json(asdict(comparison))
        return
    say(f"A {comparison.a}: {counted(comparison.answered_a, 'question')} answered")
    say(f"B {comparison.b}: {counted(comparison.answered_b, 'question')} answered")
    say(f"{counted(comparison.questions, 'question')}; 95 % intervals by paired bootstrap")
    say()
    print_table(
        ("metric", "A", "B", "B - A", "95 % interval", "p"),
        [
            (
                *(name, f"{each.a:.4f}", f"{each.b:.4f}", f"{each.b - each.a:+.4f}"),
                *(f"[{each.low:+.4f}, {each.high:+.4f}]", f"{each.p:.4f}"),
            )
            for name, each in comparison.metrics.items()
        ],
    )
    say()
    say(
        f"by {comparison.metric}: B wins {comparison.wins:,}, loses {comparison.losses:,}, "
        f"ties {comparison.ties:,}"
    )
    if comparison.largest:
        say()
        say("the largest differences, with the rank of the first right document")
    for each in comparison.largest:
        ranks = f"A {each.rank_a or '-'}, B {each.rank_b or '-'}"
        say(f"  {each.difference:+.3f}  {ranks}  {each.question_id}  {each.question}")


def print_weights(report: Any, as_json: bool) -> None:
    """Print a `WeightReport`."""
    if report.notice:
        note(report.notice)
    if as_json:
        print_json(asdict(report))
        return
    rows = [(f"{weight:.2f}", f"{value:.4f}") for weight, value in report.mrr_at_10.items()]
    print_table(("weight", "mrr@10"), [list(row) for row in rows])
    say(
        f"{report.store}: weight {report.weight:.2f}, learnt from "
        f"{counted(report.questions, 'question')}; snapshot {report.snapshot}"
    )


def print_calibration(report: Any, as_json: bool) -> None:
    """Print a `CalibrationReport`."""
    if as_json:
        print_json(asdict(report))
        return
    say(
        f"{report.reader}: {report.exact_match:.1%} of {counted(report.questions, 'question')} "
        f"answered right ({report.span_alone:.1%} by the reader's score alone), from "
        f"{counted(report.read, 'document')} each, on held-out folds"
    )
    say(
        f"probabilities: calibration error {report.calibration_error:.3f}, Brier score "
        f"{report.brier:.3f}"
    )
    say(f"wrote {report.file}")
