"""The options of ``albeam bench``."""

import argparse
import os

from pipeline.command_line.argument_types import whole_number
from transforms.models.options import DEVICES


def bench_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam bench``."""
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
        "--texts", type=whole_number, metavar="N", help="so many (default: by the machine's speed)"
    )
    sub.add_argument(
        "--rounds",
        type=whole_number,
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
