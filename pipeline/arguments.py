"""The options of every command, as argparse knows them."""

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from pipeline.evaluation_arguments import (
    compare_arguments,
    evaluate_arguments,
    reading_arguments,
)
from pipeline.shared_arguments import (
    index_arguments,
    lexical_arguments,
    new_index_arguments,
    runner_argument,
)
from pipeline.store_arguments import seconds, store_arguments
from pipeline.training_arguments import distill_arguments, finetune_arguments
from transforms.model import DEFAULT_MODEL, DEVICES, DTYPES, POOLINGS

EPILOG = "exit codes: 0 done, 1 failed or damaged, 2 bad input or options, 3 recall target missed, \
4 conflict with another writer"


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

    _embed_arguments(command("embed", "embed Parquet files into a store, with an index"))
    _watch_arguments(command("watch", "embed new Parquet files as they appear"))
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


def _embed_arguments(sub: argparse.ArgumentParser) -> None:
    sub.usage = "albeam embed INPUT... --store STORE [options] [Beam options]"
    sub.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="Parquet files, folders of them, or globs in quotes; any fsspec URL",
    )
    _store_and_model_arguments(sub)
    sub.add_argument(
        "--mode",
        choices=("append", "sync", "replace"),
        default="append",
        help="add and replace documents; or also remove those that the input lacks; or start the "
        "store anew (default: append)",
    )
    sub.add_argument(
        "--on-duplicate",
        choices=("error", "first", "last"),
        default="error",
        help="which of several rows of one id counts (default: error)",
    )
    running = _vector_arguments(sub, index_arguments)
    running.add_argument(
        "--no-resume",
        action="store_true",
        help="start afresh, whatever an earlier run of this command has left",
    )
    runner_argument(running)


def _watch_arguments(sub: argparse.ArgumentParser) -> None:
    sub.usage = "albeam watch INPUT... --store STORE --runner prism|flink [options] [Beam options]"
    sub.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folders, or globs in quotes; any fsspec URL"
    )
    _store_and_model_arguments(sub)
    sub.add_argument(
        "--every",
        type=seconds,
        default="30s",
        metavar="TIME",
        help="between two looks; a file is taken when two found it the same (default: 30s)",
    )
    sub.add_argument(
        "--until-idle",
        type=seconds,
        metavar="TIME",
        help="end when nothing has come for so long, such as 5m (default: never)",
    )
    sub.add_argument(
        "--max-segments",
        type=_whole,
        default=8,
        metavar="N",
        help="compact to half as many when there are more (default: 8)",
    )
    runner_argument(
        _vector_arguments(sub, partial(new_index_arguments, index="auto", recall_target=0.95))
    )


def _store_and_model_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--store", required=True, help="where to write; any fsspec URL")
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL,
        help="a folder or a hub name (default: $ALBEAM_MODEL, else albeam-small, which is here)",
    )
    sub.add_argument("--revision", help="branch, tag or commit of a hub name")


def _vector_arguments(sub: argparse.ArgumentParser, index: Callable[[Any], None]) -> Any:
    """What makes vectors of an input; gives the group of what says how it runs."""
    columns = sub.add_argument_group("columns")
    columns.add_argument(
        "--id-column", default="id", metavar="NAME", help="string or integer ids (default: id)"
    )
    columns.add_argument(
        "--text-column", default="text", metavar="NAME", help="the text (default: text)"
    )
    which = columns.add_mutually_exclusive_group()
    which.add_argument(
        "--metadata-columns",
        default="",
        metavar="A,B",
        help="further columns to keep; new=old renames",
    )
    which.add_argument("--all-columns", action="store_true", help="keep every further column")
    vectors = sub.add_argument_group("passages and vectors")
    vectors.add_argument(
        "--max-tokens",
        type=_whole,
        metavar="N",
        help="tokens of a passage at most, special tokens counted "
        "(default: the model's own, else 256)",
    )
    vectors.add_argument(
        "--stride",
        type=_whole,
        default=32,
        metavar="N",
        help="tokens that neighbouring passages share at least (default: 32)",
    )
    vectors.add_argument(
        "--pooling",
        choices=POOLINGS,
        help="token states to one vector (default: the model's own, else mean)",
    )
    vectors.add_argument(
        "--layer",
        type=int,
        default=-1,
        metavar="N",
        help="which hidden states: 0 embeddings, -1 last layer (default: -1)",
    )
    vectors.add_argument(
        "--no-normalize",
        action="store_true",
        help="keep the vectors' lengths; the score is then the inner product",
    )
    vectors.add_argument("--query-prompt", metavar="TEXT", help="put before each question")
    vectors.add_argument("--passage-prompt", metavar="TEXT", help="put before each passage")
    vectors.add_argument(
        "--vector-dtype",
        choices=("float32", "float16"),
        default="float32",
        help="as written (default: float32)",
    )
    index(vectors)
    lexical_arguments(vectors, "auto")
    running = sub.add_argument_group("running")
    _placement_arguments(running)
    running.add_argument(
        "--rows-per-part",
        type=_auto_or_whole,
        default=None,
        metavar="N",
        help="input rows of an output file, or auto: half a minute's work",
    )
    return running


def _search_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    sub.add_argument("question", nargs="?", metavar="QUESTION", help="in words")
    sub.add_argument(
        "--questions", metavar="FILE", help="many questions: .txt (a line each), .jsonl or .parquet"
    )
    sub.add_argument("-k", type=_whole, default=10, help="how many documents (default: 10)")
    sub.add_argument(
        "--where",
        metavar="CONDITION",
        help="only documents for which it holds: SQL over metadata columns, such as "
        "\"lang = 'en' and year >= 2020\"",
    )
    sub.add_argument(
        "--fusion",
        choices=("combination", "rrf"),
        default="combination",
        help="of both scores of a hybrid search: their weighted sum, or reciprocal ranks "
        "(default: combination)",
    )
    sub.add_argument(
        "--weight",
        type=float,
        metavar="W",
        help="of the cosine in that sum, 0 to 1 (default: the store's, else 0.6)",
    )
    sub.add_argument(
        "--diverse",
        action="store_true",
        help="leave out documents whose passage is nearly identical to a better one's",
    )
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
    _placement_arguments(sub)


def _placement_arguments(sub: Any) -> None:
    sub.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="where the model runs (default: auto)",
    )
    sub.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        help="of the model's linear layers (default: auto)",
    )


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
        "--rounds", type=_whole, metavar="N", help="of which the median counts (default: 5)"
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


def _auto_or_whole(value: str) -> int | None:
    return None if value == "auto" else _whole(value)


class _Version(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        parser.exit(0, f"albeam {version('albeam')}\n")
