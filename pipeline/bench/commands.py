"""``albeam bench``: parsed arguments to options."""

import json
import math
import sys
from typing import Any


def run_bench(arguments: Any) -> None:
    """Measure, print and keep."""
    from dataclasses import replace
    from pathlib import Path

    from pipeline.bench.corpora import CORPORA, SHAPES
    from pipeline.bench.report import print_bench
    from pipeline.bench.run import BenchOptions, quick, run
    from pipeline.bench.store import StoreOptions
    from pipeline.command_line.console import print_json

    options = BenchOptions(
        systems=_names(arguments.systems),
        device=arguments.device,
        data=Path(arguments.data),
    )
    chosen = _names(arguments.shapes), _names(arguments.corpora)
    options = quick(options) if arguments.quick else options
    if any(chosen):
        shapes, corpora = chosen[0] or SHAPES, chosen[1] or CORPORA
        options = replace(options, pairs=tuple((s, c) for s in shapes for c in corpora))
    if arguments.memory or arguments.store:
        options = replace(
            options,
            pairs=(),
            memory=options.memory if arguments.memory else None,
            store=StoreOptions() if arguments.store else None,
        )
    elif any(chosen) or options.systems:
        options = replace(options, memory=None, store=None)
    given = {"fewest": arguments.texts, "most": arguments.texts, "rounds": arguments.rounds}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.rounds is not None and not arguments.quick:
        given["limit"] = math.inf
    report = run(replace(options, effort=replace(options.effort, **given)), _tell)
    if arguments.json == "-":
        print_json(report)
        return
    print_bench(report)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _names(value: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in value.split(","))))


def _tell(doing: str) -> None:
    """Say on a terminal what is being done, in one line that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{doing}", end="", file=sys.stderr, flush=True)
