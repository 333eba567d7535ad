"""``albeam bench``: from parsed arguments to options."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.bench.options import (
    CORPORA,
    SHAPES,
    BenchOptions,
    SampleOptions,
    StoreOptions,
    quick,
)
from pipeline.command_line.console import print_json
from pipeline.command_line.screen import printable
from transforms.errors import BadInput


def run_bench(arguments: Any) -> None:
    """Measure, print the report, and write it to a file if one is given."""
    from pipeline.bench.report import print_bench
    from pipeline.bench.run import run

    report = run(_options(arguments), _show_progress)
    if arguments.json == "-":
        print_json(report)
        return
    print_bench(report)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _options(arguments: Any) -> BenchOptions:
    if arguments.passages is not None and arguments.questions is None:
        problem = "is of use with questions alone"
        raise BadInput("passages", arguments.passages, problem, "Give --questions too")
    asked = arguments.questions
    options = BenchOptions(
        systems=_names(arguments.systems),
        device=arguments.device,
        data=Path(arguments.data),
        peers=Path(arguments.peers),
        sample=None if asked is None else SampleOptions(asked, arguments.passages),
    )
    options = quick(options) if arguments.quick else options
    shapes, corpora = _names(arguments.shapes), _names(arguments.corpora)
    if shapes or corpora:
        pairs = tuple((s, c) for s in shapes or SHAPES for c in corpora or CORPORA)
        options = replace(options, pairs=pairs)
    if arguments.memory or arguments.store:
        options = replace(
            options,
            pairs=(),
            memory=options.memory if arguments.memory else None,
            store=StoreOptions() if arguments.store else None,
        )
    elif shapes or corpora or options.systems:
        options = replace(options, memory=None, store=None)
    given = {"fewest": arguments.texts, "most": arguments.texts, "rounds": arguments.rounds}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.rounds is not None and not arguments.quick:
        given["limit"] = math.inf
    return replace(options, effort=replace(options.effort, **given))


def _names(value: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in value.split(","))))


def _show_progress(step: str) -> None:
    """Show the current step on a terminal, in one line that the next step replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{printable(step)}", end="", file=sys.stderr, flush=True)
