"""Compare building and searching an index of synthetic vectors with a plain FAISS script.

Both read the same Parquet parts with the same threads, in turn, each in a process of its own. With
``--then ROWS`` the same index is built of so many rows too, to see the cost of a row there. The
targets are printed at the end. `make bench-index` runs this script, and `deploy.bench.index_recall`
if there are real corpora. ``--json FILE`` writes the figures. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.bench.index_steps import run_step
from deploy.bench.synthetic_vectors import DIM
from pipeline.bench.targets import Target

#: The targets; a figure that was measured on more rows too is judged there.
TARGETS = (
    Target("build_ratio", 1.15, below=True),
    Target("albeam_peak_bytes", 3e9, below=True),
    Target("cost_per_row", 1.1, below=True),
    Target("recall_at_10_unseen", 0.95),
    Target("open_and_answer_seconds", 2.0, below=True),
    Target("query_milliseconds", 10.0, below=True),
    Target("batch_ratio", 1.2, below=True),
)


def compare(options: argparse.Namespace, work: str) -> dict[str, Any]:
    """Build by albeam and by the script, and search."""
    store, rows, seed = f"{work}/store", str(options.rows), str(options.seed)
    run_step("make", store, rows, seed)
    rounds = []
    for number in range(options.rounds):
        left = run_step("plain", store, options.factory, f"{work}/plain.faiss")
        # With an equal target, the index of the first round would be kept.
        target = str(options.recall_target - number * 1e-6)
        rounds.append((left, run_step("albeam", store, options.factory, target)))
    found = _search(store, rows, seed)
    peak = found.pop("peak_bytes")
    batch = run_step("batch", store, str(options.questions), work)
    # Its peak is not albeam's: plain FAISS runs in the same process.
    del batch["peak_bytes"]
    found |= batch
    if options.autofaiss:
        bound = str(found["query_milliseconds"])
        auto = run_step("autofaiss", store, options.autofaiss, rows, seed, bound, work)
        del auto["peak_bytes"]
        found |= auto
    return {
        "rows": options.rows,
        "dim": DIM,
        "factory": options.factory,
        "plain_seconds": [left["seconds"] for left, _ in rounds],
        "albeam_seconds": [right["seconds"] for _, right in rounds],
        "build_ratio": statistics.median(r["seconds"] / left["seconds"] for left, r in rounds),
        "plain_peak_bytes": max(left["peak_bytes"] for left, _ in rounds),
        "albeam_peak_bytes": max(peak, *(right["peak_bytes"] for _, right in rounds)),
        "albeam_bytes": rounds[-1][1]["bytes"],
        "recall_at_10_measured": rounds[-1][1]["recall"],
        **found,
    }


def grow(options: argparse.Namespace, work: str, seconds: float) -> dict[str, Any]:
    """Build the same index of more rows; ``options.rows`` of them took ``seconds``."""
    store, rows, seed = f"{work}/larger", str(options.then), str(options.seed)
    run_step("make", store, rows, seed)
    made = run_step("albeam", store, options.factory, str(options.recall_target))
    found = _search(store, rows, seed)
    peak = max(made["peak_bytes"], found.pop("peak_bytes"))
    row, before = made["seconds"] / options.then, seconds / options.rows
    found |= {"rows": options.then, "seconds": made["seconds"], "albeam_peak_bytes": peak}
    found |= {"recall_at_10_measured": made["recall"], "cost_per_row": row / before}
    return {f"then_{name}": value for name, value in found.items()}


def _search(store: str, rows: str, seed: str) -> dict[str, Any]:
    """Time opening and searching a store, each in a process of its own."""
    # The first opening checks all checksums; later ones remember the result.
    opened = [run_step("open", store, rows, seed) for _ in range(2)][-1]
    found = run_step("search", store, rows, seed)
    return opened | found | {"peak_bytes": max(opened["peak_bytes"], found["peak_bytes"])}


def judge(report: dict[str, Any]) -> list[str]:
    """Return a line for each target whose figure was measured."""
    lines = []
    for each in TARGETS:
        target = replace(each, measured=report.get(f"then_{each.name}", report.get(each.name)))
        if target.measured is not None:
            found = "reached" if target.passed else "missed"
            sign = "at most" if target.below else "at least"
            lines.append(
                f"{found:<8} {target.name}: {target.measured:.4g}, {sign} {target.bound:g}"
            )
    return lines


def main() -> int:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--then", type=int, metavar="ROWS", help="also build of so many rows")
    parser.add_argument("--factory", default="IVF4096,SQ8")
    parser.add_argument("--recall-target", type=float, default=0.95)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--questions", type=int, default=5_000, help="of the batch search")
    parser.add_argument("--autofaiss", metavar="PYTHON", help="an interpreter that has autofaiss")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        os.environ["HOME"] = work
        report = compare(options, work)
        if options.then:
            report |= grow(options, work, statistics.median(report["albeam_seconds"]))
    for name, value in report.items():
        print(f"{name:<28} {value}")
    print(*judge(report), sep="\n")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
