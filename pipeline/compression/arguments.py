"""The arguments of ``albeam compress``."""

import argparse
from pathlib import Path

from pipeline.compression.options import CompressOptions
from pipeline.training.arguments import add_numbers, add_shared


def compress_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam compress``."""
    parser.add_argument("model", help="an ALBERT or a BERT: a folder, or albeam-small")
    parser.add_argument("--output", type=Path, required=True, help="folder of the smaller model")
    for name, what in (("heads", "attention heads"), ("inner", "units of a feed-forward layer")):
        parser.add_argument(
            f"--prune-{name}",
            type=number_or_share,
            metavar="N",
            help=f"remove so many {what}, or a share of them such as 0.5",
        )
    parser.add_argument(
        "--layers", type=int, metavar="N", help="layers that remain, or repeats of shared ones"
    )
    parser.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        default=[],
        help="Parquet files with a column text: importance and quality are measured on them",
    )
    parser.add_argument(
        "--recover",
        action="store_true",
        help="train the smaller model on --texts to give the vectors of the original",
    )
    parser.add_argument(
        "--questions", type=Path, help="Parquet or JSONL with questions: measure nDCG@10 on them"
    )
    parser.add_argument(
        "--passages", type=Path, help="Parquet file with id and text, which --questions name"
    )
    parser.add_argument(
        "--work", type=Path, help="folder of vectors and checkpoints (default: OUTPUT.work)"
    )
    add_numbers(
        parser,
        CompressOptions,
        {
            "held_out": "texts that are compared, and not used otherwise",
            "max_tokens": "maximum tokens of a text in the recovery",
        },
    )
    add_shared(parser, CompressOptions)


def number_or_share(text: str) -> int | float:
    """Parse a whole number, or a share: a number with a point."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        message = f"{text!r} is neither a whole number nor a share such as 0.5"
        raise argparse.ArgumentTypeError(message) from error
