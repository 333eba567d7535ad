"""The options of ``albeam search``."""

import argparse

from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.shared_arguments import opening_arguments, runner_argument


def search_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam search``."""
    sub.add_argument("store", metavar="STORE", help="the store's folder, any fsspec URL")
    sub.add_argument("question", nargs="?", metavar="QUESTION", help="in words")
    sub.add_argument(
        "--questions", metavar="FILE", help="many questions: .txt (a line each), .jsonl or .parquet"
    )
    sub.add_argument("-k", type=whole_number, default=10, help="how many documents (default: 10)")
    ranking_arguments(sub)
    sub.add_argument(
        "--output",
        metavar="FILE",
        help="write the hits of --questions (.parquet) to this Parquet file, as a Beam job",
    )
    runner_argument(sub, "with --output: ")
    opening_arguments(sub)
    reading_arguments(sub)


def ranking_arguments(sub: argparse.ArgumentParser) -> None:
    """The options that say which documents count, and in which order."""
    sub.add_argument(
        "--where",
        metavar="CONDITION",
        help="only documents for which it holds: SQL over metadata columns, such as "
        "\"lang = 'en' and year >= 2020\"",
    )
    sub.add_argument(
        "--fusion",
        choices=("combination", "rrf"),
        default="combination",
        help="of both scores of a hybrid search: their weighted sum, or reciprocal ranks "
        "(default: combination)",
    )
    sub.add_argument(
        "--weight",
        type=float,
        metavar="W",
        help="of the cosine in that sum, 0 to 1 (default: the store's, else 0.6)",
    )
    sub.add_argument(
        "--diverse",
        action="store_true",
        help="leave out documents whose passage is nearly identical to a better one's",
    )


def reading_arguments(sub: argparse.ArgumentParser) -> None:
    """The options for models that read the hits."""
    group = sub.add_argument_group("models that read the hits (folders or hub names)")
    group.add_argument(
        "--rerank",
        type=whole_number,
        metavar="N",
        help="order the best N documents anew, and show these",
    )
    group.add_argument(
        "--reranker",
        metavar="MODEL",
        help="with --rerank: a sequence classifier with one output, or with two labels, the "
        "second for relevant",
    )
    group.add_argument(
        "--reader", metavar="MODEL", help="find answers in the hits: a question answering model"
    )
    group.add_argument(
        "--no-answer",
        action="store_true",
        help="the reader may find none, as those can that learnt from SQuAD 2",
    )
