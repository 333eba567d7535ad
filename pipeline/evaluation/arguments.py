"""The arguments of the commands that measure how well questions are answered."""

import argparse

from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.shared_arguments import opening_arguments, store_argument
from pipeline.evaluation.options import ALL, CompareOptions, EvaluateOptions
from pipeline.search.arguments import ranking_arguments, reading_arguments


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam evaluate``."""
    store_argument(parser)
    parser.add_argument(
        "questions",
        metavar="QUESTIONS",
        help=".parquet or .jsonl with question_id, question, relevant (document ids), or - for "
        "standard input",
    )
    parser.add_argument(
        "-k",
        type=whole_number,
        default=EvaluateOptions.k,
        help="number of documents to find for each question (default: %(default)s)",
    )
    parser.add_argument(
        "--modes",
        type=_names,
        metavar="A,B",
        help=f"several modes to measure in one run, or {ALL}; replaces --mode",
    )
    parser.add_argument(
        "--beside",
        type=_named_run,
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="also measure a run of another system: a TREC file, or Parquet as albeam writes it; "
        "may be repeated",
    )
    parser.add_argument(
        "--tune",
        action="store_true",
        help="learn the weight of the cosine in hybrid scores from the questions, and store it",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit how sure the answers of --reader are, on the questions, and keep that in its "
        "folder",
    )
    parser.add_argument(
        "--report", metavar="FILE", help="write a report with charts, one page of HTML"
    )
    parser.add_argument(
        "--colour", metavar="COLUMN", help="a metadata column that colours the report's map"
    )
    parser.add_argument(
        "--per-question", metavar="FILE", help="write the results of each question as Parquet"
    )
    parser.add_argument(
        "--run",
        metavar="FILE",
        help="write a TREC run; with several modes a file each, with the mode in its name",
    )
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=EvaluateOptions.seed,
        metavar="N",
        help="seed of the bootstrap (default: %(default)s)",
    )
    ranking_arguments(parser)
    opening_arguments(parser)
    reading_arguments(parser)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam compare``."""
    run = (
        "a TREC file, the Parquet of search --output, or that of evaluate --per-question (followed "
        "by @MODE if it has several modes)"
    )
    parser.add_argument("a", metavar="RUN_A", help=run)
    parser.add_argument("b", metavar="RUN_B", help="the run to compare it with")
    parser.add_argument(
        "--questions",
        metavar="FILE",
        help=".parquet or .jsonl with question_id, question, relevant (document ids), or - for "
        "standard input (default: those of a run of evaluate --per-question)",
    )
    parser.add_argument(
        "-k",
        type=whole_number,
        default=CompareOptions.k,
        help="number of documents to compare by, at most those of the shorter run "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--metric",
        default=CompareOptions.metric,
        metavar="NAME",
        help="metric by which a question is won or lost (default: %(default)s)",
    )
    parser.add_argument(
        "--largest",
        type=whole_number,
        default=CompareOptions.largest,
        metavar="N",
        help="number of questions to show, those with the largest differences "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=CompareOptions.seed,
        metavar="N",
        help="seed of the resampling (default: %(default)s)",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _named_run(text: str) -> tuple[str, str]:
    name, _, file = text.partition("=")
    if not name.strip() or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RUN, such as bm25=bm25.trec")
    return name.strip(), file
