"""The options of ``albeam ask``."""

import argparse
from typing import Any

from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.shared_arguments import opening_arguments, store_argument
from pipeline.search.arguments import ranking_arguments
from transforms.errors import BadInput, check_at_least
from transforms.models.options import DEFAULT_READER, DEFAULT_RERANKER, Placement
from transforms.models.shipped import is_there
from transforms.search.reading_options import EVEN, READ, RERANKED, ReadingOptions


def ask_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam ask``."""
    store_argument(parser)
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="one question, in words")
    parser.add_argument(
        "--questions",
        metavar="FILE",
        help="many questions: .txt (one per line), .jsonl or .parquet, or - for standard input",
    )
    parser.add_argument(
        "-k",
        type=whole_number,
        default=READ,
        help="number of documents to read (default: %(default)s)",
    )
    ranking_arguments(parser)
    opening_arguments(parser)
    group = parser.add_argument_group("models that read the hits (folders or hub names)")
    group.add_argument(
        "--reader",
        metavar="MODEL",
        help=f"the question answering model (default: {DEFAULT_READER}, if it is installed)",
    )
    group.add_argument(
        "--reranker",
        metavar="MODEL",
        help="the sequence classifier that orders what the search found (default: "
        f"{DEFAULT_RERANKER}, if it is installed)",
    )
    group.add_argument(
        "--rerank",
        type=whole_number,
        metavar="N",
        help=f"rerank the best N documents; 0 for none (default: {RERANKED})",
    )
    group.add_argument(
        "--no-answer",
        action="store_true",
        help="give no answer where the reader finds none, or where it is more probably wrong than "
        f"right (--threshold {EVEN})",
    )
    group.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="give no answer whose probability is below P; needs a reader that was calibrated with "
        "albeam evaluate --calibrate",
    )


def ask_reading(arguments: Any) -> tuple[ReadingOptions, list[str]]:
    """Return the models that read, and what the user should know of those that are missing.

    Raises:
        BadInput: an option can't be used, or asks for a model that is missing.
    """
    given = arguments
    check_at_least("rerank", given.rerank, 0)
    if given.threshold is not None and not 0 <= given.threshold <= 1:
        problem, remedy = "must lie between 0 and 1", "Give a probability such as 0.5"
        raise BadInput("threshold", given.threshold, problem, remedy)
    if given.rerank == 0 and given.reranker is not None:
        raise BadInput("reranker", given.reranker, "needs --rerank above 0", "Leave one out")
    notes = []
    reader, reranker = given.reader, given.reranker
    if reader is None:
        # An option that needs a reader finds out that there is none.
        needed = given.no_answer or given.threshold is not None
        reader = DEFAULT_READER if needed or is_there(DEFAULT_READER) else None
    if reader is None:
        notes.append(
            f"{DEFAULT_READER} is not in this installation, so passages are shown and no answer "
            "is read. Give --reader MODEL"
        )
    if reranker is None and given.rerank != 0:
        needed = given.rerank is not None
        reranker = DEFAULT_RERANKER if needed or is_there(DEFAULT_RERANKER) else None
        if reranker is None:
            notes.append(
                f"{DEFAULT_RERANKER} is not in this installation, so passages are in the order of "
                "the search. Give --reranker MODEL"
            )
    depth = None if reranker is None else given.rerank or max(RERANKED, given.k)
    placement = Placement(given.device, given.dtype)
    return ReadingOptions(depth, reranker, reader, given.no_answer, placement), notes
