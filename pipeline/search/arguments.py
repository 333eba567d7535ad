"""The options of ``albeam search``."""

import argparse
from typing import Any

from pipeline.command_line.argument_types import ids_of_text, whole_number
from pipeline.command_line.shared_arguments import (
    model_arguments,
    opening_arguments,
    placement_arguments,
    runner_argument,
    store_argument,
)
from transforms.models.options import Placement
from transforms.search.condition import where_of_text
from transforms.search.options import DEFAULT_WEIGHT, FUSIONS, RankOptions
from transforms.search.reading_options import ReadingOptions


def search_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam search``."""
    store_argument(parser)
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="one question, in words")
    parser.add_argument(
        "--questions",
        metavar="FILE",
        help="many questions: .txt (one per line), .jsonl or .parquet, or - for standard input",
    )
    parser.add_argument(
        "--like",
        type=ids_of_text,
        action="extend",
        metavar="ID,ID",
        help="find more documents like these, by their vectors, instead of a question; an id with "
        "a comma needs double quotes around it: '\"a,b\",c'",
    )
    parser.add_argument(
        "--unlike",
        type=ids_of_text,
        action="extend",
        metavar="ID,ID",
        help="with --like: documents that hits shall not be like",
    )
    parser.add_argument(
        "-k",
        type=whole_number,
        default=RankOptions.k,
        help="number of documents to find (default: %(default)s)",
    )
    parser.add_argument(
        "--offset",
        type=whole_number,
        default=RankOptions.offset,
        metavar="N",
        help="leave out the best N documents, for the pages after the first (default: %(default)s)",
    )
    ranking_arguments(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="answer --questions (.parquet or -) as a Beam job, and write the hits to this Parquet "
        "file",
    )
    runner_argument(parser, "with --output: ")
    opening_arguments(parser)
    reading_arguments(parser)


def similar_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam similar``."""
    parser.add_argument("text", nargs="*", metavar="TEXT", help="two texts")
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        help="many pairs instead: a Parquet file with the columns sentence1 and sentence2",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="with --pairs: the Parquet file to write, with a further column similarity",
    )
    model_arguments(parser)
    placement_arguments(parser)


def ranking_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that filter and rank documents."""
    parser.add_argument(
        "--where",
        type=where_of_text,
        metavar="CONDITION",
        help="rank only documents that meet an SQL condition over metadata columns, such as "
        "\"lang = 'en' and year >= 2020\"; or the JSON of a condition and its values, such as "
        '["lang = ?", ["en"]]',
    )
    parser.add_argument(
        "--fusion",
        choices=FUSIONS,
        default=RankOptions.fusion,
        help="how a hybrid search joins both scores: by their weighted sum (combination), or by "
        "reciprocal ranks (rrf) (default: %(default)s)",
    )
    parser.add_argument(
        "--weight",
        type=float,
        metavar="W",
        help="weight of the cosine in that sum, 0 to 1 "
        f"(default: the store's, else {DEFAULT_WEIGHT})",
    )
    parser.add_argument(
        "--diverse",
        action="store_true",
        help="leave out documents whose passage is nearly identical to a better one",
    )


def reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the models that read the hits."""
    group = parser.add_argument_group("models that read the hits (folders or hub names)")
    group.add_argument(
        "--rerank",
        type=whole_number,
        metavar="N",
        help="rerank the best N documents with --reranker, and show only these",
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
        help="allow the reader to find no answer, for models trained on SQuAD 2",
    )


def reading_options(arguments: Any) -> ReadingOptions:
    """Return the options of the models that read the hits."""
    return ReadingOptions(
        rerank=arguments.rerank,
        reranker=arguments.reranker,
        reader=arguments.reader,
        no_answer=arguments.no_answer,
        placement=Placement(arguments.device, arguments.dtype),
    )
