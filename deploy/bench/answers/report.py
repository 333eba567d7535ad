"""The tables of the benchmark of answers, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from deploy.bench.answers.retrieval import METRICS, Measured
from deploy.bench.answers.targets import METRIC, MINILM, Results, Target
from transforms.evaluation.metrics import means
from transforms.evaluation.significance import Difference, differences, intervals


def compared(found: Mapping[str, Measured], system: str, mode: str) -> Difference | None:
    """Return how a system differs from MiniLM in the same mode; None if there is none.

    BM25 is compared with the dense mode, which has no words either.
    """
    theirs = found.get(MINILM)
    if theirs is None or system == MINILM:
        return None
    other = mode if mode in theirs.modes else "dense"
    ours, base = found[system].modes[mode][METRIC], theirs.modes[other][METRIC]
    if len(ours) != len(base):
        return None
    return differences({METRIC: base}, {METRIC: ours})[METRIC]


def rows(found: Results) -> Iterator[dict[str, Any]]:
    """Yield a row for each corpus, system and mode, with intervals and the difference."""
    for corpus, systems in found.items():
        for system, measured in systems.items():
            for mode, values in measured.modes.items():
                difference = compared(systems, system, mode)
                yield {
                    "corpus": corpus,
                    "system": system,
                    "mode": mode,
                    "questions": len(values[METRIC]),
                    "metrics": means(values),
                    "intervals": intervals(values),
                    "less_minilm": None if difference is None else asdict(difference),
                }


def retrieval_table(found: Results) -> str:
    """Return the table of retrieval."""
    names = " | ".join(METRICS)
    lines = [
        f"| corpus | system | mode | questions | {names} | MRR@10 less {MINILM} | p |",
        f"| --- | --- | --- | ---: |{' ---: |' * len(METRICS)} --- | ---: |",
    ]
    for row in rows(found):
        cells = [row["corpus"], row["system"], row["mode"], f"{row['questions']:,}"]
        for name in METRICS:
            low, high = row["intervals"][name]
            cells.append(f"{row['metrics'][name]:.3f} ({low:.3f} to {high:.3f})")
        other = row["less_minilm"]
        if other is None:
            cells += ["", ""]
        else:
            gain = f"{other['b'] - other['a']:+.3f}"
            cells += [f"{gain} ({other['low']:+.3f} to {other['high']:+.3f})", f"{other['p']:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def reading_table(read: Mapping[str, dict[str, Any]]) -> str:
    """Return the table of answers."""
    lines = ["| answers | questions | metric | value | 95 % interval |"]
    lines.append("| --- | ---: | --- | ---: | --- |")
    for part, found in read.items():
        for name, value in found["values"].items():
            bounds = found["intervals"].get(name)
            shown = "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
            lines.append(f"| {part} | {found['rows']:,} | {name} | {value:.3f} | {shown} |")
    return "\n".join(lines)


def as_json(
    found: Results,
    similarity: Mapping[str, float],
    read: Mapping[str, dict[str, Any]],
    met: list[Target],
    skipped: list[str],
) -> dict[str, Any]:
    """Return everything that was measured."""
    numbers = {
        corpus: {name: each.numbers for name, each in systems.items()}
        for corpus, systems in found.items()
    }
    return {
        "retrieval": list(rows(found)),
        "numbers": numbers,
        "similarity": dict(similarity),
        "reading": dict(read),
        "targets": [asdict(each) | {"missed": each.missed} for each in met],
        "skipped": skipped,
    }
