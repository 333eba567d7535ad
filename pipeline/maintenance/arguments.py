"""The options of the commands that change or check a store without embedding."""

import argparse

from pipeline.command_line.argument_types import seconds, whole_number
from pipeline.command_line.shared_arguments import (
    language_argument,
    moved_model_argument,
    recall_questions_argument,
    runner_argument,
    snapshot_argument,
    store_argument,
    vector_index_arguments,
)
from pipeline.maintenance.options import DAY, CompactOptions, TuneOptions, VacuumOptions


def delete_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam delete``."""
    store_argument(parser)
    parser.add_argument("ids", nargs="*", metavar="ID", help="document ids")
    parser.add_argument("--ids", dest="file", metavar="FILE", help="text file with one id per line")


def rollback_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam rollback``."""
    store_argument(parser)
    parser.add_argument("number", type=whole_number, metavar="N", help="number of the old snapshot")


def vacuum_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam vacuum``."""
    store_argument(parser)
    parser.add_argument(
        "--keep",
        type=whole_number,
        default=VacuumOptions.keep,
        metavar="N",
        help="keep at least the newest N snapshots (default: %(default)s)",
    )
    parser.add_argument(
        "--older-than",
        type=seconds,
        default=VacuumOptions.older_than,
        metavar="AGE",
        help="keep what is younger than this: 7d, 12h, 30m, 45s or 0; an age of some minutes also "
        f"keeps the files of running jobs (default: {VacuumOptions.older_than / DAY:g}d)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be removed, and remove nothing"
    )


def compact_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam compact``."""
    store_argument(parser)
    parser.add_argument(
        "--max-segments",
        type=whole_number,
        default=CompactOptions.max_segments,
        metavar="N",
        help="number of segments that may remain: the smallest are merged; if there are no more "
        "than N, those with dead rows are rewritten (default: %(default)s)",
    )
    vector_index_arguments(parser, index=None, recall_target=None)
    runner_argument(parser)


def index_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam index``."""
    store_argument(parser)
    vector_index_arguments(parser, index=None)
    recall_questions_argument(parser)
    parser.add_argument(
        "--lexical",
        choices=("auto",),
        help="give every segment a lexical index; without --index, build no vector index",
    )
    language_argument(parser)
    runner_argument(parser)


def tune_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam tune``."""
    store_argument(parser)
    parser.add_argument(
        "--queries",
        type=whole_number,
        default=TuneOptions.queries,
        metavar="N",
        help="number of stored vectors to search for; the vector itself does not count as a hit "
        "(default: %(default)s)",
    )
    parser.add_argument("--plot", metavar="FILE", help="write an SVG plot of recall and latency")
    snapshot_argument(parser)


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam verify``."""
    store_argument(parser)
    parser.add_argument(
        "--deep",
        action="store_true",
        help="also check a sample of vectors against their texts, and the index against exact "
        "search",
    )
    snapshot_argument(parser)
    moved_model_argument(parser)
