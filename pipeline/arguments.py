"""The options of every command, as argparse knows them."""

import argparse
import os
from typing import Any

from pipeline.embed_arguments import embed_arguments, plan_arguments, watch_arguments
from pipeline.evaluation_arguments import (
    compare_arguments,
    evaluate_arguments,
    ranking_arguments,
    reading_arguments,
)
from pipeline.shared_arguments import placement_arguments, runner_argument
from pipeline.store_arguments import store_arguments
from pipeline.training_arguments import distill_arguments, finetune_arguments
from transforms.model import DEFAULT_MODEL, DEVICES

EPILOG = "exit codes: 0 done, 1 failed or damaged, 2 bad input or options, 3 recall target missed, \
4 conflict with another writer, 130 interrupted"


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

    embed_arguments(command("embed", "embed Parquet files into a store, with an index"), _whole)
    watch_arguments(command("watch", "embed new Parquet files as they appear"), _whole)
    plan = command("plan", "say what embedding would take, from footers and a sample")
    plan_arguments(plan, _whole)
    _search_arguments(command("search", "find the documents nearest to a question"))
    evaluate = command("evaluate", "measure retrieval on questions with known answers")
    evaluate_arguments(evaluate, _whole)
    _opening_arguments(evaluate)
    reading_arguments(evaluate, _whole)
    compare_arguments(command("compare", "say which of two runs is better, and where"), _whole)
    store_arguments(command, _whole)
    _demo_arguments(command("demo", "embed Python's own documentation and ask it questions"))
    _doctor_arguments(command("doctor", "say what is installed, what is missing, what to do"))
    distill_arguments(command("distill", "train an ALBERT sentence encoder from a teacher"))
    finetune_arguments(command("finetune", "teach a model to find passages that answer questions"))
    _bench_arguments(command("bench", "measure tokens a second beside albeam's peers", loud))
    return parser


def option_names(command: str) -> tuple[str, ...]:
    """The long options of a command."""
    [commands] = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return tuple(name for name in commands.choices[command]._option_string_actions)


def _search_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    sub.add_argument("question", nargs="?", metavar="QUESTION", help="in words")
    sub.add_argument(
        "--questions", metavar="FILE", help="many questions: .txt (a line each), .jsonl or .parquet"
    )
    sub.add_argument("-k", type=_whole, default=10, help="how many documents (default: 10)")
    ranking_arguments(sub)
    sub.add_argument(
        "--output",
        metavar="FILE",
        help="write the hits of --questions (.parquet) to this Parquet file, as a Beam job",
    )
    runner_argument(sub, "with --output: ")
    _opening_arguments(sub)
    reading_arguments(sub, _whole)


def _opening_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--mode",
        choices=("hybrid", "dense", "lexical"),
        help="by vectors, by words (BM25), or by both (default: hybrid, or dense where the store "
        "has no lexical index)",
    )
    sub.add_argument("--snapshot", type=_whole, metavar="N", help="not the newest snapshot but N")
    sub.add_argument("--model", help="where the store's model lies now, if it has moved")
    placement_arguments(sub)


def _demo_arguments(sub: argparse.ArgumentParser) -> None:
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
    sub.add_argument("--limit", type=_whole, metavar="N", help="only N documents")


def _doctor_arguments(sub: argparse.ArgumentParser) -> None:
    runner_argument(sub)
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL,
        help="which must load (default: $ALBEAM_MODEL, else albeam-small, which is here)",
    )


def _bench_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--quick", action="store_true", help="a first answer within ten minutes")
    sub.add_argument(
        "--memory",
        action="store_true",
        help="only the memory of embedding N rows and ten times as many",
    )
    sub.add_argument(
        "--store", action="store_true", help="only what keeping a store up to date costs"
    )
    sub.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write JSON to FILE beside the table; without FILE, print it instead",
    )
    sub.add_argument(
        "--shapes", default="", metavar="A,B", help="of albert-base, albeam-small (default: both)"
    )
    sub.add_argument(
        "--corpora", default="", metavar="A,B", help="of squad, skewed (default: both)"
    )
    sub.add_argument(
        "--systems", default="", metavar="A,B", help="only these rows, and albeam's (default: all)"
    )
    sub.add_argument(
        "--texts", type=_whole, metavar="N", help="so many (default: by the machine's speed)"
    )
    sub.add_argument(
        "--rounds",
        type=_whole,
        metavar="N",
        help="of which the median counts (default: 5, quick 3; fewer where time is short)",
    )
    sub.add_argument(
        "--data",
        default=os.environ.get("ALBEAM_DATA") or "../shared/data",
        metavar="FOLDER",
        help="with squad_dev/passages.parquet; where there is none, texts are made up "
        "(default: $ALBEAM_DATA, else ../shared/data)",
    )
    sub.add_argument(
        "--device", choices=DEVICES, default="auto", help="where models run (default: auto)"
    )


def _whole(value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 0")
    return number


class _Version(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        parser.exit(0, f"albeam {version('albeam')}\n")
