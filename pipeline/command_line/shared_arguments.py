"""Options that several commands share."""

import argparse
import os
from collections.abc import Iterable
from typing import Any

from pipeline.command_line.argument_types import byte_count, shard_count, whole_number
from pipeline.command_line.runner_names import DEFAULT_RUNNER
from transforms.errors import BadInput
from transforms.index.options import GPU, LEXICAL, IndexOptions, LexicalOptions
from transforms.models.options import (
    DEFAULT_MODEL,
    DEVICES,
    DTYPES,
    ENGINES,
    ModelOptions,
    Placement,
)
from transforms.search.options import MODES

#: A parser, or a group of its options.
Container = argparse._ActionsContainer


def store_argument(parser: Container) -> None:
    """Add the store that a command works on."""
    parser.add_argument("store", metavar="STORE", help="folder of the store; any fsspec URL")


def column_arguments(
    parser: Container, options: type[Any], columns: Iterable[tuple[str, str]]
) -> None:
    """Add an option ``--NAME-column`` for each name of a column and what the column holds.

    The defaults are those of the dataclass ``options``, whose fields are called ``NAME_column``.
    """
    for name, about in columns:
        parser.add_argument(
            f"--{name}-column",
            default=getattr(options, f"{name}_column"),
            metavar="NAME",
            help=f"column of the {about} (default: %(default)s)",
        )


def snapshot_argument(parser: Container) -> None:
    """Add the number of an older snapshot."""
    parser.add_argument(
        "--snapshot", type=whole_number, metavar="N", help="use snapshot N (default: the newest)"
    )


def moved_model_argument(parser: Container) -> None:
    """Add the new place of a store's model."""
    parser.add_argument(
        "--model", help="new folder or hub name of the store's model, if it has moved"
    )


def model_argument(parser: Container) -> None:
    """Add the model that embeds."""
    parser.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL,
        help="folder or hub name of the model "
        f"(default: $ALBEAM_MODEL, else {DEFAULT_MODEL}, which comes with albeam)",
    )


def model_arguments(parser: Container) -> None:
    """Add the model that embeds, and its revision."""
    model_argument(parser)
    parser.add_argument("--revision", help="branch, tag or commit of a model from a hub")


def placement_arguments(parser: Container) -> None:
    """Add the device and the dtype of a model."""
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=Placement.device,
        help="device of the model (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default=Placement.dtype,
        help="dtype of the model's linear layers (default: %(default)s)",
    )


def engine_argument(parser: Container) -> None:
    """Add the engine that computes the vectors of passages."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=Placement.engine,
        help="what computes the vectors: torch, or onnx or openvino with a folder of albeam export "
        "as --model (default: %(default)s: onnx for such a folder, else torch)",
    )


def opening_arguments(parser: Container) -> None:
    """Add the options that decide how a store is opened."""
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="rank by vectors (dense), by words with BM25 (lexical), or by both (default: hybrid, "
        "or dense if the store has no lexical index)",
    )
    snapshot_argument(parser)
    moved_model_argument(parser)
    placement_arguments(parser)


def vector_index_arguments(
    parser: Container,
    index: str | None = IndexOptions.index,
    recall_target: float | None = IndexOptions.recall_target,
) -> None:
    """Add the options of the vector index; a default of None keeps those of the old index."""
    before = "the same as before"
    parser.add_argument(
        "--index",
        default=index,
        metavar="KIND",
        help="auto, flat, hnsw, ivf, ivfpq, none, or a FAISS factory string "
        f"(default: {before if recall_target is None else IndexOptions.index})",
    )
    parser.add_argument(
        "--recall-target",
        type=float,
        default=recall_target,
        metavar="R",
        help="recall@10 that the index must reach, measured against exact search "
        f"(default: {before if recall_target is None else recall_target})",
    )
    parser.add_argument(
        "--index-memory",
        type=byte_count,
        default=IndexOptions.memory,
        metavar="SIZE",
        help="memory that the index may take, such as 500MB "
        f"(default: {IndexOptions.memory // 10**9}GB)",
    )
    parser.add_argument(
        "--shards",
        type=shard_count,
        default=IndexOptions.shards,
        metavar="N",
        help="number of index files, or auto: as few as possible of at most 1 GiB each "
        "(default: auto)",
    )
    parser.add_argument(
        "--gpu",
        choices=GPU,
        default=IndexOptions.gpu,
        help="whether to train the index on the GPUs that FAISS finds (default: %(default)s)",
    )


def recall_questions_argument(parser: Container) -> None:
    """Add the questions on which the recall of an index is measured too."""
    parser.add_argument(
        "--recall-questions",
        metavar="FILE",
        help="questions on which the index must also reach the recall target: .txt, .jsonl or "
        ".parquet, or - for standard input (default: generated ones)",
    )


def lexical_arguments(parser: Container) -> None:
    """Add the options of the lexical index of new segments."""
    parser.add_argument(
        "--lexical",
        choices=LEXICAL,
        default=LexicalOptions.lexical,
        help="whether to build a lexical index, which finds by words (default: %(default)s)",
    )
    language_argument(parser)


def language_argument(parser: Container) -> None:
    """Add the language of a lexical index."""
    parser.add_argument(
        "--language",
        metavar="NAME",
        help="language whose words are reduced to their stems: english, german, french, ..., or "
        "none (default: the store's, else english)",
    )


def runner_argument(parser: Container, prefix: str = "") -> None:
    """Add the runner of a job and its workers; ``prefix`` begins their help."""
    parser.add_argument(
        "--runner",
        default=DEFAULT_RUNNER,
        metavar="NAME",
        help=f"{prefix}direct, flink, prism, dataflow, or the name of a Beam runner (default: "
        "%(default)s); unknown options go to Beam, such as --flink-master HOST:8081",
    )
    parser.add_argument(
        "--workers",
        nargs="+",
        metavar=("KIND", "ADDRESS"),
        help=f"{prefix}where Flink runs its Python workers: LOOPBACK, EXTERNAL HOST:PORT, PROCESS "
        "or DOCKER IMAGE (default: LOOPBACK with --flink-master [local])",
    )


def lexical_options(arguments: Any) -> LexicalOptions | None:
    """Return the options of the lexical index; None if it was not asked for."""
    if arguments.lexical is not None:
        return LexicalOptions(arguments.lexical, arguments.language)
    if arguments.language is not None:
        raise BadInput("language", arguments.language, "needs --lexical auto", "Give both")
    return None


def index_options(arguments: Any) -> IndexOptions:
    """Return the options of the vector index; what was not given has its default."""
    given = {
        "index": arguments.index,
        "recall_target": arguments.recall_target,
        "memory": arguments.index_memory,
        "gpu": arguments.gpu,
        "shards": arguments.shards,
    }
    return IndexOptions(**{name: value for name, value in given.items() if value is not None})


def model_options(arguments: Any) -> ModelOptions:
    """Return the options of the model; a command without one of them has its default."""
    if not arguments.model:
        raise BadInput(
            "model", arguments.model, "is blank", "Give a folder or a hub name, or leave it out"
        )
    given = vars(arguments)
    return ModelOptions(
        model=arguments.model,
        revision=given.get("revision"),
        pooling=given.get("pooling"),
        layer=given.get("layer", ModelOptions.layer),
        normalize=False if given.get("no_normalize") else None,
        max_tokens=given.get("max_tokens"),
        query_prompt=given.get("query_prompt"),
        passage_prompt=given.get("passage_prompt"),
    )
