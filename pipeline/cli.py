"""The command line. argv is read here and nowhere else; each command imports what it needs."""

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from transforms.errors import AlbeamError, BadInput, Conflict

EPILOG = "exit codes: 0 done, 1 failed or damaged, 2 bad input or options, 3 recall target missed, \
4 conflict with another writer"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command not in ("embed", "demo"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.beam_args = tuple(rest)
    _quiet(arguments.verbose)
    try:
        arguments.function(arguments)
    except BadInput as error:
        return _fail(error, 2)
    except Conflict as error:
        return _fail(error, 4)
    except AlbeamError as error:
        return _fail(error, 1)
    except ImportError as error:
        if "albeam[" not in str(error):
            raise
        return _fail(error, 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail("interrupted; run the same command again to go on", 130)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", help="show the libraries' logs")
    common.add_argument("--json", action="store_true", help="print JSON, with stable keys")
    parser: argparse.ArgumentParser = _Parser(
        prog="albeam",
        description="Turn a corpus of text in Parquet into a searchable store of ALBERT vectors.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, function: Callable[[Any], None], about: str) -> Any:
        sub = commands.add_parser(
            name,
            parents=[common],
            help=about,
            description=about + ".",
            epilog=EPILOG,
            allow_abbrev=False,
        )
        sub.set_defaults(function=function)
        return sub

    _embed_arguments(command("embed", _embed, "embed Parquet files into a store, with an index"))
    _search_arguments(command("search", _search, "find the documents nearest to a question"))
    _evaluate_arguments(
        command("evaluate", _evaluate, "measure retrieval on questions with known answers")
    )
    store = command("snapshots", _snapshots, "list the snapshots of a store")
    store.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    store = command("verify", _verify, "check every file of a store against its manifests")
    store.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    _demo_arguments(command("demo", _demo, "embed Python's own documentation and ask it questions"))
    _bench_arguments(command("bench", _bench, "measure tokens a second beside plain transformers"))
    return parser


def _embed_arguments(sub: argparse.ArgumentParser) -> None:
    sub.usage = "albeam embed INPUT... --store STORE --model MODEL [options] [Beam options]"
    sub.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="Parquet files, folders of them, or globs in quotes; any fsspec URL",
    )
    sub.add_argument("--store", required=True, help="where to write; any fsspec URL")
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL"),
        help="a folder or a hub name; $ALBEAM_MODEL by default",
    )
    sub.add_argument("--revision", help="branch, tag or commit of a hub name")
    sub.add_argument(
        "--mode",
        choices=("append", "replace"),
        default="append",
        help="add to the live documents, or replace them all (default: append)",
    )
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
        choices=("mean", "cls", "max"),
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
    vectors.add_argument(
        "--index",
        default="auto",
        metavar="KIND",
        help="auto, flat, none, or a FAISS factory string (default: auto)",
    )
    running = sub.add_argument_group("running")
    _placement_arguments(running)
    running.add_argument(
        "--rows-per-part",
        type=_auto_or_whole,
        default=None,
        metavar="N",
        help="input rows of an output file, or auto: half a minute's work",
    )
    running.add_argument(
        "--runner",
        default="direct",
        metavar="NAME",
        help="direct, or a Beam runner's name (default: direct); "
        "options that albeam does not know go to Beam",
    )


def _search_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    sub.add_argument("question", nargs="?", metavar="QUESTION", help="in words")
    sub.add_argument(
        "--questions", metavar="FILE", help="many questions: .txt (a line each), .jsonl or .parquet"
    )
    sub.add_argument("-k", type=_whole, default=10, help="how many documents (default: 10)")
    _reading_arguments(sub)


def _evaluate_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    sub.add_argument(
        "questions",
        metavar="QUESTIONS",
        help=".parquet or .jsonl with question_id, question, relevant (document ids)",
    )
    sub.add_argument("-k", type=_whole, default=100, help="how deep to search (default: 100)")
    _reading_arguments(sub)


def _reading_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--mode", choices=("dense",), default="dense", help="how to rank (default: dense)"
    )
    sub.add_argument("--snapshot", type=_whole, metavar="N", help="not the newest snapshot but N")
    sub.add_argument("--model", help="where the store's model lies now, if it has moved")
    _placement_arguments(sub)


def _placement_arguments(sub: Any) -> None:
    sub.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the model runs (default: auto)",
    )
    sub.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
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
        default=os.environ.get("ALBEAM_MODEL"),
        help="a folder or a hub name; $ALBEAM_MODEL by default",
    )
    sub.add_argument("--limit", type=_whole, metavar="N", help="only N documents")


def _bench_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL"),
        help="a folder or a hub name; $ALBEAM_MODEL by default",
    )
    sub.add_argument(
        "--texts",
        type=_whole,
        default=256,
        metavar="N",
        help="how many texts of a seeded generator (default: 256)",
    )
    sub.add_argument(
        "--rounds",
        type=_whole,
        default=3,
        metavar="N",
        help="rounds, of which the median counts (default: 3)",
    )
    _placement_arguments(sub)


def _embed(arguments: Any) -> None:
    from pipeline.embed import run
    from pipeline.options import EmbedOptions
    from pipeline.report import print_summary
    from transforms.encoder import Placement
    from transforms.planning import ColumnOptions

    summary = run(
        EmbedOptions(
            inputs=tuple(arguments.inputs),
            store=arguments.store,
            model=_model(arguments),
            columns=ColumnOptions(
                arguments.id_column,
                arguments.text_column,
                _metadata(arguments.metadata_columns),
                arguments.all_columns,
            ),
            stride=arguments.stride,
            placement=Placement(arguments.device, arguments.dtype),
            vector_dtype=arguments.vector_dtype,
            index=arguments.index,
            rows_per_part=arguments.rows_per_part,
            mode=arguments.mode,
            runner=arguments.runner,
            beam_args=arguments.beam_args,
        )
    )
    print_summary(summary, arguments.json)


def _search(arguments: Any) -> None:
    from pipeline.search import read_questions, run
    from transforms.store import Store

    if (arguments.question is None) == (arguments.questions is None):
        raise BadInput("give one QUESTION, or --questions FILE")
    store = Store.open(
        arguments.store, arguments.snapshot, arguments.model, arguments.device, arguments.dtype
    )
    many = arguments.questions is not None
    questions = read_questions(arguments.questions) if many else [arguments.question]
    run(store, questions, arguments.k, arguments.mode, arguments.json, many)


def _evaluate(arguments: Any) -> None:
    from pipeline.evaluate import run
    from pipeline.report import print_metrics
    from transforms.store import Store

    store = Store.open(
        arguments.store, arguments.snapshot, arguments.model, arguments.device, arguments.dtype
    )
    report = run(store, arguments.questions, arguments.k, arguments.mode)
    print_metrics(report, arguments.json)


def _snapshots(arguments: Any) -> None:
    from pipeline.report import print_snapshots
    from pipeline.snapshots import run

    print_snapshots(run(arguments.store), arguments.json)


def _verify(arguments: Any) -> None:
    from pipeline.verify import run

    report = run(arguments.store)
    if arguments.json:
        print(json.dumps(asdict(report)))
    else:
        print(
            f"{arguments.store}: snapshot {report.snapshot}, {report.files} files, "
            f"{report.passages} passages: sound"
        )


def _demo(arguments: Any) -> None:
    from pipeline.demo import run

    run(_model(arguments), arguments.corpus, arguments.store, arguments.limit, arguments.json)


def _bench(arguments: Any) -> None:
    from pipeline.bench import run
    from pipeline.report import print_bench
    from transforms.encoder import Placement

    report = run(
        _model(arguments),
        Placement(arguments.device, arguments.dtype),
        arguments.texts,
        arguments.rounds,
    )
    print_bench(report, arguments.json)


def _model(arguments: Any) -> Any:
    from transforms.model import ModelOptions

    if not arguments.model:
        raise BadInput("no model: give --model FOLDER or hub name, or set ALBEAM_MODEL")
    given = vars(arguments)
    return ModelOptions(
        model=arguments.model,
        revision=given.get("revision"),
        pooling=given.get("pooling"),
        layer=given.get("layer", -1),
        normalize=False if given.get("no_normalize") else None,
        max_tokens=given.get("max_tokens"),
        query_prompt=given.get("query_prompt"),
        passage_prompt=given.get("passage_prompt"),
    )


def _metadata(value: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in filter(None, (item.strip() for item in value.split(","))):
        new, _, old = item.partition("=")
        pairs.append((new, old or new))
    return tuple(pairs)


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


def _quiet(verbose: bool) -> None:
    """Hush the libraries, unless asked not to."""
    logging.basicConfig(
        format="%(levelname)s %(name)s: %(message)s",
        level=logging.INFO if verbose else logging.ERROR,
    )
    if verbose:
        return
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("transforms").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")


def _fail(message: object, code: int) -> int:
    print(f"albeam: {' '.join(str(message).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
