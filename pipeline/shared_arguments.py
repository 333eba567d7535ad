"""Options that several commands share."""

import argparse
import re
from typing import Any


def index_arguments(group: Any) -> None:
    """The options that say which index is wanted, for a parser or a group of its options."""
    group.add_argument(
        "--index",
        default="auto",
        metavar="KIND",
        help="auto, flat, hnsw, ivf, ivfpq, none, or a FAISS factory string (default: auto)",
    )
    group.add_argument(
        "--recall-target",
        type=float,
        default=0.95,
        metavar="R",
        help="recall@10 against exact search that an index must reach (default: 0.95)",
    )
    group.add_argument(
        "--recall-questions",
        metavar="FILE",
        help="questions whose recall must reach it as well: .txt, .jsonl or .parquet",
    )
    group.add_argument(
        "--index-memory",
        type=byte_count,
        default=byte_count("8GB"),
        metavar="SIZE",
        help="what the index may take in memory, such as 500MB (default: 8GB)",
    )
    group.add_argument(
        "--gpu",
        choices=("auto", "never"),
        default="auto",
        help="train on the GPUs that FAISS sees (default: auto)",
    )


def runner_argument(sub: Any, prefix: str = "") -> None:
    """The option that says which engine runs a job; ``prefix`` begins its help."""
    sub.add_argument(
        "--runner",
        default="direct",
        metavar="NAME",
        help=f"{prefix}direct, or a Beam runner's name (default: direct); "
        "options that albeam does not know go to Beam",
    )


def byte_count(text: str) -> int:
    """``500MB`` as a number; a bare number counts bytes."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?B?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give one such as 500MB or 8GB")
    power = "KMGT".find(match[2][:1].upper()) + 1 if match[2][:1].upper() in "KMGT" else 0
    return int(float(match[1]) * 1000**power)
