"""The arguments of ``albeam classify``, ``evaluate-task`` and ``predict``."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.command_line.argument_types import whole_number
from pipeline.command_line.shared_arguments import (
    Container,
    column_arguments,
    placement_arguments,
    runner_argument,
    snapshot_argument,
    store_argument,
)
from pipeline.tasks.options import EvaluateTaskOptions, LabelOptions, PredictOptions, RowOptions
from transforms.ingest.options import PassageOptions
from transforms.tasks.options import CLASS_WEIGHTS, HeadOptions

#: The columns of a reader, and what they have.
_QUESTIONS = (("question", "questions, of a reader"), ("context", "passages of the questions"))


def classify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam classify``."""
    parser.usage = "albeam classify STORE LABELS... --output HEAD [options]"
    store_argument(parser)
    parser.add_argument(
        "labels",
        nargs="+",
        type=Path,
        metavar="LABELS",
        help="Parquet files with the ids and the labels of documents in the store",
    )
    parser.add_argument(
        "--output", required=True, metavar="HEAD", help="folder of the head to write"
    )
    _id_argument(parser, "column of the document ids")
    label_arguments(parser)
    snapshot_argument(parser)
    fit = parser.add_argument_group("fit")
    fit.add_argument(
        "--strength",
        type=float,
        default=HeadOptions.strength,
        metavar="C",
        help="inverse of the regularization (default: chosen by cross-validation)",
    )
    fit.add_argument(
        "--folds",
        type=whole_number,
        default=HeadOptions.folds,
        metavar="N",
        help="folds of the cross-validation (default: %(default)s)",
    )
    fit.add_argument(
        "--held-out",
        type=float,
        default=HeadOptions.held_out,
        metavar="SHARE",
        help="share of the documents to measure on; the head that is written is fitted on all "
        "(default: %(default)s)",
    )
    fit.add_argument(
        "--class-weights",
        choices=CLASS_WEIGHTS,
        default=HeadOptions.class_weights,
        help="balanced: rare classes count as much as frequent ones (default: %(default)s)",
    )
    _seed_argument(fit, HeadOptions.seed)


def evaluate_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam evaluate-task``."""
    parser.usage = "albeam evaluate-task HEAD DATA... [options]"
    _head_argument(parser)
    parser.add_argument(
        "data",
        nargs="+",
        type=Path,
        metavar="DATA",
        help="Parquet files with texts and labels (with --store, ids and labels), with words and "
        "tags, or with pairs of texts and scores, as for the training of the head",
    )
    parser.add_argument(
        "--store", help="store that has the documents, so that no text is embedded; any fsspec URL"
    )
    snapshot_argument(parser)
    parser.add_argument(
        "--report", metavar="FILE", help="write a report with charts, one page of HTML"
    )
    _text_argument(parser)
    _id_argument(parser, "with --store: column of the document ids")
    label_arguments(parser)
    _row_arguments(parser)
    _model_argument(parser)
    _stride_argument(parser)
    placement_arguments(parser)
    _seed_argument(parser, EvaluateTaskOptions.seed)


def predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam predict``."""
    parser.usage = (
        "albeam predict HEAD INPUT... --output FOLDER [options] [Beam options]\n"
        "       albeam predict HEAD --store STORE [--output FOLDER] [--as COLUMN] [options]"
    )
    _head_argument(parser)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="Parquet files, folders of them, or globs in quotes; any fsspec URL",
    )
    parser.add_argument(
        "--store", help="predict the documents of this store by their vectors; any fsspec URL"
    )
    snapshot_argument(parser)
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="folder of the predictions, Parquet; any fsspec URL",
    )
    parser.add_argument(
        "--as",
        dest="column",
        metavar="COLUMN",
        help="with --store: write the labels into this new metadata column, as a new snapshot",
    )
    _id_argument(parser, "column of the ids, strings or integers")
    _text_argument(parser)
    column_arguments(parser, PredictOptions, _QUESTIONS)
    _model_argument(parser)
    _stride_argument(parser)
    running = parser.add_argument_group("running")
    placement_arguments(running)
    running.add_argument(
        "--rows-per-part",
        type=whole_number,
        metavar="N",
        help="documents of a part (an output file) (default: about half a minute of work)",
    )
    runner_argument(running)


def label_arguments(parser: Container) -> None:
    """Add the column of labels, and whether it has lists."""
    parser.add_argument(
        "--label-column",
        default=LabelOptions.label_column,
        metavar="NAME",
        help="column of the labels, text or whole numbers (default: %(default)s)",
    )
    parser.add_argument(
        "--multi-label",
        action="store_true",
        help="the column has lists: a document may have several labels, or none",
    )


def label_options(arguments: Any) -> LabelOptions:
    """Return the columns of labelled rows; a command without one of them has its default."""
    given = vars(arguments)
    return LabelOptions(
        arguments.label_column,
        arguments.multi_label,
        given.get("text_column", LabelOptions.text_column),
        given.get("id_column", LabelOptions.id_column),
    )


def _row_arguments(parser: Container) -> None:
    """Add the columns of known rows of other tasks than to classify."""
    column_arguments(
        parser,
        RowOptions,
        (
            ("tokens", "words, of a tagger"),
            ("tags", "tags of the words, BIO"),
            ("first", "first texts, of pairs"),
            ("second", "second texts"),
            ("score", "known scores of the pairs"),
            *_QUESTIONS,
            ("answers", "known answers"),
        ),
    )
    parser.add_argument(
        "--passages",
        type=Path,
        nargs="+",
        default=(),
        help="Parquet files of the passages that questions name by id, with id and text",
    )
    parser.add_argument(
        "--spans-column",
        metavar="NAME",
        help="column of the entities of a text, instead of words and tags",
    )


def row_options(arguments: Any) -> RowOptions:
    """Return the columns of known rows."""
    names = [field.name for field in fields(RowOptions)]
    return RowOptions(**{name: getattr(arguments, name) for name in names})


def _head_argument(parser: Container) -> None:
    parser.add_argument(
        "head",
        metavar="HEAD",
        help="folder that albeam classify or albeam finetune wrote",
    )


def _id_argument(parser: Container, what: str) -> None:
    parser.add_argument(
        "--id-column",
        default=LabelOptions.id_column,
        metavar="NAME",
        help=f"{what} (default: %(default)s)",
    )


def _text_argument(parser: Container) -> None:
    parser.add_argument(
        "--text-column",
        default=LabelOptions.text_column,
        metavar="NAME",
        help="column of the texts (default: %(default)s)",
    )


def _model_argument(parser: Container) -> None:
    parser.add_argument(
        "--model", help="new folder or hub name of the head's encoder, if it has moved"
    )


def _stride_argument(parser: Container) -> None:
    parser.add_argument(
        "--stride",
        type=whole_number,
        default=PassageOptions.stride,
        metavar="N",
        help="minimum tokens that adjacent passages of a text share, as for albeam embed "
        "(default: %(default)s)",
    )


def _seed_argument(parser: Container, default: int) -> None:
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=default,
        metavar="N",
        help="seed of the bootstrap, and of what is drawn (default: %(default)s)",
    )
