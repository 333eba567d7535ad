"""The options of a run that embeds, which planning one shares."""

import argparse
from typing import Any

from pipeline.command_line.argument_types import seconds, whole_number
from pipeline.command_line.shared_arguments import (
    lexical_arguments,
    model_arguments,
    placement_arguments,
    recall_questions_argument,
    runner_argument,
    vector_index_arguments,
)
from transforms.models.options import POOLINGS


def embed_arguments(sub: argparse.ArgumentParser) -> None:
    """The options of ``albeam embed``."""
    sub.usage = "albeam embed INPUT... --store STORE [options] [Beam options]"
    input_argument(sub)
    _store_argument(sub)
    model_arguments(sub)
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
    vectors = embedding_arguments(sub)
    vector_index_arguments(vectors)
    recall_questions_argument(vectors)
    lexical_arguments(vectors)
    running = _running_arguments(sub)
    running.add_argument(
        "--no-resume",
        action="store_true",
        help="start afresh, whatever an earlier run of this command has left",
    )
    runner_argument(running)


def watch_arguments(sub: argparse.ArgumentParser) -> None:
    """The options of ``albeam watch``."""
    sub.usage = "albeam watch INPUT... --store STORE --runner prism|flink [options] [Beam options]"
    sub.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folders, or globs in quotes; any fsspec URL"
    )
    _store_argument(sub)
    model_arguments(sub)
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
        type=whole_number,
        default=8,
        metavar="N",
        help="compact to half as many when there are more (default: 8)",
    )
    vectors = embedding_arguments(sub)
    vector_index_arguments(vectors)
    lexical_arguments(vectors)
    runner_argument(_running_arguments(sub))


def _store_argument(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--store", required=True, help="where to write; any fsspec URL")


def _running_arguments(sub: argparse.ArgumentParser) -> Any:
    running = sub.add_argument_group("running")
    placement_arguments(running)
    part_argument(running)
    return running


def input_argument(sub: argparse.ArgumentParser) -> None:
    """Which files."""
    sub.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="Parquet files, folders of them, or globs in quotes; any fsspec URL",
    )


def embedding_arguments(sub: argparse.ArgumentParser) -> Any:
    """Which columns, and how they become vectors; the group of the latter's options."""
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
        type=whole_number,
        metavar="N",
        help="tokens of a passage at most, special tokens counted "
        "(default: the model's own, else 256)",
    )
    vectors.add_argument(
        "--stride",
        type=whole_number,
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
    return vectors


def part_argument(running: Any) -> None:
    """How large parts are."""

    def auto_or_whole(value: str) -> int | None:
        return None if value == "auto" else whole_number(value)

    running.add_argument(
        "--rows-per-part",
        type=auto_or_whole,
        default=None,
        metavar="N",
        help="input rows of an output file, or auto: half a minute's work",
    )


def plan_arguments(sub: argparse.ArgumentParser) -> None:
    """The options of ``albeam plan``."""
    sub.usage = "albeam plan INPUT... [options] [Beam options]"
    input_argument(sub)
    model_arguments(sub)
    sub.add_argument(
        "--rows",
        type=whole_number,
        metavar="N",
        help="as if the input had N rows like those it has",
    )
    sub.add_argument(
        "--parallel",
        type=whole_number,
        default=1,
        metavar="N",
        help="workers that embed at once (default: 1)",
    )
    sub.add_argument(
        "--tokens-per-second",
        type=float,
        metavar="R",
        help="of one worker (default: this machine is measured)",
    )
    sub.add_argument("--price-per-hour", type=float, metavar="P", help="of one worker")
    vectors = embedding_arguments(sub)
    vector_index_arguments(vectors)
    recall_questions_argument(vectors)
    part_argument(sub)
    placement_arguments(sub)
    runner_argument(sub)
