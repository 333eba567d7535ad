"""The arguments of ``albeam bench``, with the defaults of its options."""

import argparse
import os

from pipeline.bench.options import CORPORA, PEERS, QUICK, SHAPES, SYSTEMS, BenchOptions, Effort
from pipeline.command_line.argument_types import whole_number
from transforms.models.options import DEVICES


def bench_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam bench``."""
    parser.add_argument("--quick", action="store_true", help="measure less, within ten minutes")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="measure only the memory of embedding N rows and ten times as many",
    )
    parser.add_argument(
        "--store", action="store_true", help="measure only the cost of keeping a store up to date"
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="also write JSON to FILE; without FILE, print JSON instead of the table",
    )
    parser.add_argument(
        "--shapes",
        default="",
        metavar="A,B",
        help=f"shapes of the model: {', '.join(SHAPES)} (default: all)",
    )
    parser.add_argument(
        "--corpora", default="", metavar="A,B", help=f"corpora: {', '.join(CORPORA)} (default: all)"
    )
    parser.add_argument(
        "--systems",
        default="",
        metavar="A,B",
        help=f"measure only albeam and these systems: {', '.join(SYSTEMS)} (default: all)",
    )
    parser.add_argument(
        "--texts",
        type=whole_number,
        metavar="N",
        help="number of texts (default: by the speed of the machine)",
    )
    parser.add_argument(
        "--rounds",
        type=whole_number,
        metavar="N",
        help=f"rounds, whose median is reported (default: {Effort.rounds}, with --quick "
        f"{QUICK.rounds}; fewer if the time is short)",
    )
    parser.add_argument(
        "--questions",
        type=whole_number,
        metavar="N",
        help="also measure the nDCG@10 of each system with so many questions of the data; takes "
        "time",
    )
    parser.add_argument(
        "--passages",
        type=whole_number,
        metavar="N",
        help="passages that are ranked for these questions (default: all)",
    )
    parser.add_argument(
        "--data",
        default=os.environ.get("ALBEAM_DATA") or "../shared/data",
        metavar="FOLDER",
        help="folder with squad_dev/passages.parquet and, for --questions, "
        "squad_dev/questions.parquet; without the passages, texts are generated "
        "(default: $ALBEAM_DATA, else ../shared/data)",
    )
    parser.add_argument(
        "--peers",
        default=PEERS,
        metavar="FOLDER",
        help="environments of peers, made by make bench-peers (default: %(default)s)",
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=BenchOptions.device,
        help="where models run (default: %(default)s)",
    )
