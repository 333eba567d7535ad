"""The options of the commands that measure how well questions are answered."""

import argparse

from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.shared_arguments import opening_arguments
from pipeline.search.arguments import ranking_arguments, reading_arguments


def evaluate_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam evaluate``."""
    add = sub.add_argument
    add("store", metavar="STORE", help="the store's folder, any fsspec URL")
    add(
        "questions",
        metavar="QUESTIONS",
        help=".parquet or .jsonl with question_id, question, relevant (document ids)",
    )
    add("-k", type=whole_number, default=100, help="how deep to search (default: 100)")
    add(
        "--modes",
        type=_names,
        metavar="A,B",
        help="several ways to rank in one run, or all; instead of --mode",
    )
    add(
        "--beside",
        type=_named_run,
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="measure a run of another system as well: a TREC file, or Parquet as albeam writes "
        "it; may be repeated",
    )
    add(
        "--tune",
        action="store_true",
        help="learn the weight of the cosine in hybrid scores from the questions, and keep it in "
        "the store",
    )
    add("--report", metavar="FILE", help="write one page of HTML with pictures")
    add("--colour", metavar="COLUMN", help="a metadata column that colours the report's map")
    add("--per-question", metavar="FILE", help="write what each question found as Parquet")
    add(
        "--run",
        metavar="FILE",
        help="write a TREC run; with several modes one each, the mode in its name",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="of the bootstrap (default: 0)")
    ranking_arguments(sub)
    opening_arguments(sub)
    reading_arguments(sub)


def compare_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam compare``."""
    add = sub.add_argument
    run = (
        "a TREC file, the Parquet of search --output, or that of evaluate --per-question (with "
        "@MODE behind it where it has several)"
    )
    add("a", metavar="RUN_A", help=run)
    add("b", metavar="RUN_B", help="what to compare it with")
    add(
        "--questions",
        metavar="FILE",
        help=".parquet or .jsonl with question_id, question, relevant (document ids; default: "
        "those of a run of evaluate --per-question)",
    )
    add(
        "-k",
        type=whole_number,
        default=100,
        help="how deep to look (default: 100); no deeper than both runs go",
    )
    add(
        "--metric",
        default="mrr@10",
        metavar="NAME",
        help="by which a question is won or lost (default: mrr@10)",
    )
    add(
        "--largest",
        type=whole_number,
        default=10,
        metavar="N",
        help="questions to show whose difference is largest (default: 10)",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="of the resampling (default: 0)")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _named_run(text: str) -> tuple[str, str]:
    name, _, file = text.partition("=")
    if not name.strip() or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RUN, such as bm25=bm25.trec")
    return name.strip(), file
