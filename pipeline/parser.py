"""The parser of all commands, and the function of each."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from pipeline.bench.arguments import bench_arguments
from pipeline.bench.commands import run_bench
from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.exit_codes import EPILOG
from pipeline.command_line.shared_arguments import (
    model_options,
    opening_arguments,
)
from pipeline.evaluation.arguments import compare_arguments, evaluate_arguments
from pipeline.evaluation.commands import run_compare, run_evaluate
from pipeline.ingest.arguments import embed_arguments, plan_arguments, watch_arguments
from pipeline.ingest.commands import run_embed, run_plan, run_watch
from pipeline.maintenance.arguments import store_arguments
from pipeline.maintenance.commands import (
    run_compact,
    run_delete,
    run_index,
    run_rollback,
    run_snapshots,
    run_tune,
    run_vacuum,
    run_verify,
)
from pipeline.runners.arguments import doctor_arguments
from pipeline.runners.commands import run_doctor
from pipeline.search.arguments import reading_arguments, search_arguments
from pipeline.search.commands import run_search
from pipeline.training.arguments import distill_arguments, finetune_arguments
from pipeline.training.commands import run_distill, run_finetune
from transforms.models.options import DEFAULT_MODEL


def run_demo(arguments: Any) -> None:
    """Run ``albeam demo``."""
    from pipeline.demo import run

    run(
        model_options(arguments), arguments.corpus, arguments.store, arguments.limit, arguments.json
    )


class _Parser(argparse.ArgumentParser):
    _within = False

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Let options stand between positionals of which the last may be left out."""
        optional = any(action.nargs in ("?", "*") for action in self._get_positional_actions())
        if self._within or not optional:
            return super().parse_known_args(args, namespace)
        self._within = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._within = False


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; ``command`` names the one that was given."""
    loud = argparse.ArgumentParser(add_help=False)
    loud.add_argument("-v", "--verbose", action="store_true", help="show the libraries' logs")
    common = argparse.ArgumentParser(add_help=False, parents=[loud])
    common.add_argument("--json", action="store_true", help="print JSON, with stable keys")
    parser: argparse.ArgumentParser = _Parser(
        prog="albeam",
        description="Turn a corpus of text in Parquet into a searchable store of ALBERT vectors.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, about: str, common: argparse.ArgumentParser = common
    ) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            parents=[common],
            help=about,
            description=about + ".",
            epilog=EPILOG,
            allow_abbrev=False,
        )

    embed_arguments(
        command("embed", "embed Parquet files into a store, with an index"), whole_number
    )
    watch_arguments(command("watch", "embed new Parquet files as they appear"), whole_number)
    plan = command("plan", "say what embedding would take, from footers and a sample")
    plan_arguments(plan, whole_number)
    search_arguments(command("search", "find the documents nearest to a question"))
    evaluate = command("evaluate", "measure retrieval on questions with known answers")
    evaluate_arguments(evaluate, whole_number)
    opening_arguments(evaluate)
    reading_arguments(evaluate, whole_number)
    compare_arguments(
        command("compare", "say which of two runs is better, and where"), whole_number
    )
    store_arguments(command, whole_number)
    demo_arguments(command("demo", "embed Python's own documentation and ask it questions"))
    doctor_arguments(command("doctor", "say what is installed, what is missing, what to do"))
    distill_arguments(command("distill", "train an ALBERT sentence encoder from a teacher"))
    finetune_arguments(command("finetune", "teach a model to find passages that answer questions"))
    bench_arguments(command("bench", "measure tokens a second beside albeam's peers", loud))
    return parser


def option_names(parser: argparse.ArgumentParser, command: str) -> tuple[str, ...]:
    """Return the options of a command."""
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return tuple(name for name in commands.choices[command]._option_string_actions)


def demo_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam demo``."""
    sub.add_argument("--store", default="demo-store", help="where to write (default: demo-store)")
    sub.add_argument(
        "--corpus",
        default="demo-corpus",
        help="where to put the Parquet input (default: demo-corpus)",
    )
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL,
        help="a folder or a hub name (default: $ALBEAM_MODEL, else albeam-small, which is here)",
    )
    sub.add_argument("--limit", type=whole_number, metavar="N", help="only N documents")


class _Version(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        parser.exit(0, f"albeam {version('albeam')}\n")


#: Commands that go on where they were when they are told to.
RESUMED = ("distill", "finetune")
#: Commands whose unknown options go to Beam.
ON_BEAM = ("embed", "watch", "plan", "compact", "index", "doctor")
COMMANDS: dict[str, Callable[[Any], None]] = {
    "embed": run_embed,
    "watch": run_watch,
    "plan": run_plan,
    "search": run_search,
    "evaluate": run_evaluate,
    "compare": run_compare,
    "delete": run_delete,
    "snapshots": run_snapshots,
    "rollback": run_rollback,
    "vacuum": run_vacuum,
    "compact": run_compact,
    "index": run_index,
    "tune": run_tune,
    "verify": run_verify,
    "demo": run_demo,
    "doctor": run_doctor,
    "distill": run_distill,
    "finetune": run_finetune,
    "bench": run_bench,
}
