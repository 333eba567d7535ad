"""The arguments of ``albeam finetune classify`` and its kin."""

import argparse
from pathlib import Path

from pipeline.command_line.shared_arguments import column_arguments
from pipeline.training.arguments import add_numbers, add_pairs, add_shared
from pipeline.training.rerank_options import RERANK_NEGATIVES, RerankOptions
from pipeline.training.task_options import (
    ClassifyOptions,
    ReadOptions,
    SimilarOptions,
    TagOptions,
    TaskOptions,
)
from transforms.search.options import MODES
from transforms.tasks.options import CLASS_WEIGHTS


def classify_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam finetune classify``."""
    _add_rows(parser, ClassifyOptions, "a column of texts and one of labels")
    parser.add_argument(
        "--text-column",
        default=ClassifyOptions.text_column,
        metavar="NAME",
        help="column of the texts (default: %(default)s)",
    )
    parser.add_argument(
        "--label-column",
        default=ClassifyOptions.label_column,
        metavar="NAME",
        help="column of the labels, text or whole numbers (default: %(default)s)",
    )
    parser.add_argument(
        "--multi-label",
        action="store_true",
        help="a row has a list of labels: any number of them",
    )
    _add_class_weights(parser, ClassifyOptions, "class by the inverse of its rows")
    add_shared(parser, ClassifyOptions)


def tag_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam finetune tag``."""
    _add_rows(parser, TagOptions, "columns of words and their BIO tags, or of texts and spans")
    column_arguments(
        parser,
        TagOptions,
        (
            ("tokens", "words, lists of text"),
            ("tags", "tags of the words: O, B-TYPE or I-TYPE"),
            ("text", "texts, with --spans-column"),
        ),
    )
    parser.add_argument(
        "--spans-column",
        metavar="NAME",
        help="column of the entities of a text, instead of words and tags: lists of start, end and "
        "type; start and end count code points",
    )
    _add_class_weights(parser, TagOptions, "tag by the inverse of its words")
    add_shared(parser, TagOptions)


def read_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam finetune read``."""
    _add_rows(parser, ReadOptions, "columns of questions, of passages and of their answers")
    parser.add_argument(
        "--passages",
        type=Path,
        nargs="+",
        default=(),
        metavar="FILE",
        help="Parquet files with id and text, if the rows name passages by id: in the column "
        "relevant, a list, or passage",
    )
    column_arguments(
        parser,
        ReadOptions,
        (
            ("question", "questions"),
            ("context", "passages, without --passages"),
            ("answers", "answers: texts, or lists of text and start, which counts code points"),
        ),
    )
    parser.add_argument(
        "--no-answer",
        action="store_true",
        help="keep questions without answers, so that the reader may find none",
    )
    add_numbers(
        parser,
        ReadOptions,
        {"window_tokens": "tokens of a training window (default: --max-tokens)"},
    )
    add_shared(parser, ReadOptions)


def similar_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam finetune similar``."""
    _add_rows(parser, SimilarOptions, "columns of two texts and of a score of their similarity")
    column_arguments(
        parser,
        SimilarOptions,
        (
            ("first", "first texts"),
            ("second", "second texts"),
            ("score", "scores; a higher one means more similar"),
        ),
    )
    add_numbers(parser, SimilarOptions, {"average": "share of the new weights in the result"})
    add_shared(parser, SimilarOptions)


def rerank_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam finetune rerank``."""
    add_pairs(parser)
    parser.add_argument(
        "--store", help="a store of the passages; its searches find the candidates instead of BM25"
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="how the store is searched (default: hybrid, or dense without a lexical index)",
    )
    parser.add_argument(
        "--negatives",
        choices=RERANK_NEGATIVES,
        help="where hard negatives come from; none draws passages at random (default: store with "
        "--store, else bm25)",
    )
    add_numbers(
        parser,
        RerankOptions,
        {
            "per_question": "negatives of a question in a step",
            "easy": "share of them that is drawn at random",
            "candidates": "passages that a search finds for a question; negatives are drawn from "
            "them, and the validation orders them",
            "questions": "maximum questions of a passage",
            "held_out": "maximum questions of the validation",
            "max_tokens": "maximum tokens of a question and a passage together (default: as in the "
            "model)",
            "passage_tokens": "maximum tokens of a passage in training (default: what has room)",
        },
    )
    add_shared(parser, RerankOptions)


def _add_class_weights(
    parser: argparse.ArgumentParser, owner: type[ClassifyOptions | TagOptions], weighs: str
) -> None:
    parser.add_argument(
        "--class-weights",
        choices=CLASS_WEIGHTS,
        default=owner.class_weights,
        help=f"balanced weighs each {weighs} (default: %(default)s)",
    )


def _add_rows(parser: argparse.ArgumentParser, owner: type[TaskOptions], columns: str) -> None:
    """Add the arguments that all trainings on labelled rows share."""
    parser.add_argument(
        "--model", required=True, help="folder of the model to start from, or albeam-small"
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help=f"Parquet files with {columns}"
    )
    parser.add_argument(
        "--validation",
        type=Path,
        nargs="+",
        default=(),
        help="Parquet files like those of --data (default: hold out some of its rows)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: OUTPUT.work)")
    add_numbers(
        parser,
        owner,
        {
            "held_out": "share of the rows that is held out without --validation",
            "max_tokens": "tokens that the network reads at once (default: as in the model)",
        },
    )
