"""The arguments of ``albeam demo``, and how it is run."""

import argparse
from typing import Any

from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.shared_arguments import model_argument, model_options


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam demo``."""
    parser.add_argument(
        "--store", default="demo-store", help="folder of the store (default: demo-store)"
    )
    parser.add_argument(
        "--corpus",
        default="demo-corpus",
        help="folder of the Parquet input that the demo writes (default: demo-corpus)",
    )
    model_argument(parser)
    parser.add_argument(
        "--limit", type=whole_number, metavar="N", help="embed only N documents (default: all)"
    )


def run_demo(arguments: Any) -> None:
    """Run ``albeam demo``."""
    from pipeline.demo import run

    run(
        model_options(arguments), arguments.corpus, arguments.store, arguments.limit, arguments.json
    )
