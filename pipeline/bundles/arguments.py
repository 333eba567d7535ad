"""The options of ``albeam bundle``."""

import argparse
from pathlib import Path

from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.shared_arguments import (
    moved_model_argument,
    snapshot_argument,
    store_argument,
)
from transforms.bundles.options import MOST_PASSAGES, MOST_PASSAGES_WEB, VECTORS


def bundle_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam bundle``."""
    store_argument(parser)
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder to write, or one archive if the name ends in .zip; a new one",
    )
    parser.add_argument(
        "--web",
        action="store_true",
        help="write a static page that searches in the browser, instead of a Python program",
    )
    parser.add_argument(
        "--vectors",
        choices=VECTORS,
        help="how vectors are kept (default: float16, with --web int8)",
    )
    parser.add_argument(
        "--most-passages",
        type=whole_number,
        metavar="N",
        help=f"refuse larger stores (default: {MOST_PASSAGES}, with --web {MOST_PASSAGES_WEB})",
    )
    snapshot_argument(parser)
    moved_model_argument(parser)
