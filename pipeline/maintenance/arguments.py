"""The options of the commands that change a store without embedding."""

import argparse
from collections.abc import Callable

from pipeline.command_line.argument_types import seconds
from pipeline.command_line.shared_arguments import (
    index_arguments,
    lexical_arguments,
    new_index_arguments,
    runner_argument,
)

Command = Callable[[str, str], argparse.ArgumentParser]


def store_arguments(command: Command, whole: Callable[[str], int]) -> None:
    """Add the commands for which a store is enough; ``whole`` reads a number from 0."""
    delete = _on_store(command("delete", "take documents out of a store"))
    delete.add_argument("ids", nargs="*", metavar="ID", help="document ids")
    delete.add_argument("--ids", dest="file", metavar="FILE", help="a file with one id a line")
    _on_store(command("snapshots", "list the snapshots of a store"))
    rollback = _on_store(command("rollback", "make a new snapshot with the content of an old one"))
    rollback.add_argument("number", type=whole, metavar="N", help="the old snapshot's number")
    vacuum = _on_store(command("vacuum", "remove the files that no kept snapshot needs"))
    vacuum.add_argument(
        "--keep",
        type=whole,
        default=1,
        metavar="N",
        help="keep the newest N snapshots, however old (default: 1)",
    )
    vacuum.add_argument(
        "--older-than",
        type=seconds,
        default="7d",
        metavar="AGE",
        help="keep what is younger: 7d, 12h, 30m, 45s or 0; also the files of runs that are under "
        "way (default: 7d)",
    )
    vacuum.add_argument("--dry-run", action="store_true", help="say what would go; remove nothing")
    compact = _on_store(command("compact", "write many segments as few, without dead rows"))
    compact.add_argument(
        "--max-segments",
        type=whole,
        default=1,
        metavar="N",
        help="how many may remain: the smallest are joined, or, where there are no more than N, "
        "those with dead rows (default: 1)",
    )
    new_index_arguments(compact)
    runner_argument(compact)
    index = _on_store(command("index", "build another index for the vectors that a store has"))
    index_arguments(index, None)
    lexical_arguments(index)
    runner_argument(index)
    tune = _on_store(command("tune", "measure recall against latency of a store's index"))
    tune.add_argument(
        "--queries",
        type=whole,
        default=200,
        metavar="N",
        help="stored vectors to search for, each left out of its own answer (default: 200)",
    )
    tune.add_argument("--plot", metavar="FILE", help="draw recall against latency as an SVG file")
    tune.add_argument("--snapshot", type=whole, metavar="N", help="not the newest snapshot but N")
    verify = _on_store(command("verify", "check every file of a store against its manifests"))
    verify.add_argument(
        "--deep",
        action="store_true",
        help="also a sample of vectors against their texts, and the index against exact search",
    )
    verify.add_argument("--snapshot", type=whole, metavar="N", help="not the newest snapshot but N")
    verify.add_argument("--model", help="where the store's model lies now, if it has moved")


def _on_store(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    sub.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    return sub
