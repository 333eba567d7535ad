"""The options of a run that embeds, which planning one shares."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from pipeline.shared_arguments import index_arguments
from transforms.model import DEFAULT_MODEL, POOLINGS

Whole = Callable[[str], int]


def input_argument(sub: argparse.ArgumentParser) -> None:
    """Which files."""
    sub.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="Parquet files, folders of them, or globs in quotes; any fsspec URL",
    )


def model_arguments(sub: argparse.ArgumentParser) -> None:
    """Which model."""
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL,
        help="a folder or a hub name (default: $ALBEAM_MODEL, else albeam-small, which is here)",
    )
    sub.add_argument("--revision", help="branch, tag or commit of a hub name")


def embedding_arguments(sub: argparse.ArgumentParser, whole: Whole) -> Any:
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
        type=whole,
        metavar="N",
        help="tokens of a passage at most, special tokens counted "
        "(default: the model's own, else 256)",
    )
    vectors.add_argument(
        "--stride",
        type=whole,
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


def part_argument(running: Any, whole: Whole) -> None:
    """How large parts are."""

    def auto_or_whole(value: str) -> int | None:
        return None if value == "auto" else whole(value)

    running.add_argument(
        "--rows-per-part",
        type=auto_or_whole,
        default=None,
        metavar="N",
        help="input rows of an output file, or auto: half a minute's work",
    )


def plan_arguments(sub: argparse.ArgumentParser, whole: Whole) -> None:
    """The options of ``albeam plan``, but for where the model runs."""
    sub.usage = "albeam plan INPUT... [options] [Beam options]"
    input_argument(sub)
    model_arguments(sub)
    sub.add_argument(
        "--rows", type=whole, metavar="N", help="as if the input had N rows like those it has"
    )
    sub.add_argument(
        "--parallel",
        type=whole,
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
    index_arguments(embedding_arguments(sub, whole))
    part_argument(sub, whole)
