"""Options that several commands share."""

import argparse
import os
from typing import Any

from pipeline.command_line.argument_types import byte_count, shard_count, whole_number
from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, DEVICES, DTYPES


def index_arguments(group: Any, index: str | None = "auto") -> None:
    """The options that say which index is wanted, for a parser or a group of its options."""
    new_index_arguments(group, index, 0.95)
    group.add_argument(
        "--recall-questions",
        metavar="FILE",
        help="questions whose recall must reach it as well: .txt, .jsonl or .parquet",
    )


def new_index_arguments(
    group: Any, index: str | None = None, recall_target: float | None = None
) -> None:
    """Those of them that need no model; without a default, that of the old index is kept."""
    group.add_argument(
        "--index",
        default=index,
        metavar="KIND",
        help="auto, flat, hnsw, ivf, ivfpq, none, or a FAISS factory string "
        f"(default: {index or ('auto' if recall_target else 'what was asked for before')})",
    )
    group.add_argument(
        "--recall-target",
        type=float,
        default=recall_target,
        metavar="R",
        help="recall@10 against exact search that an index must reach "
        f"(default: {recall_target or 'what was asked for before'})",
    )
    group.add_argument(
        "--index-memory",
        type=byte_count,
        default=byte_count("8GB"),
        metavar="SIZE",
        help="what the index may take in memory, such as 500MB (default: 8GB)",
    )
    group.add_argument(
        "--shards",
        type=shard_count,
        default=0,
        metavar="N",
        help="files of the index, of whole parts each, or auto: as few as can be of up to 1 GB "
        "(default: auto)",
    )
    group.add_argument(
        "--gpu",
        choices=("auto", "never"),
        default="auto",
        help="train on the GPUs that FAISS sees (default: auto)",
    )


def lexical_arguments(group: Any, lexical: str | None = None) -> None:
    """The options that say whether there is to be a lexical index; ``lexical`` is the default."""
    group.add_argument(
        "--lexical",
        choices=("auto", "none") if lexical else ("auto",),
        default=lexical,
        help="an index of words beside that of vectors (default: auto)"
        if lexical
        else "give all segments an index of words; without --index, that alone",
    )
    group.add_argument(
        "--language",
        metavar="NAME",
        help="whose words are reduced to their stems: english, german, french, ..., or none "
        "(default: the store's, else english)",
    )


def lexical_options(arguments: Any) -> Any:
    """The `LexicalOptions` of these arguments; None where none are wanted."""
    from transforms.index.options import LexicalOptions

    if arguments.lexical is None and arguments.language is not None:
        raise BadInput("--language is for --lexical auto; give both")
    return LexicalOptions(arguments.lexical, arguments.language) if arguments.lexical else None


def index_options(arguments: Any) -> Any:
    """The `IndexOptions` of these arguments; where none were given, what is usual."""
    from transforms.index.options import IndexOptions

    usual = IndexOptions()
    target = arguments.recall_target
    return IndexOptions(
        usual.index if arguments.index is None else arguments.index,
        usual.recall_target if target is None else target,
        arguments.index_memory,
        arguments.gpu,
        arguments.shards,
    )


def runner_argument(sub: Any, prefix: str = "") -> None:
    """The option that says which engine runs a job; ``prefix`` begins its help."""
    sub.add_argument(
        "--runner",
        default="direct",
        metavar="NAME",
        help=f"{prefix}direct, flink, prism, or a Beam runner's name (default: direct); "
        "options that albeam does not know go to Beam, such as --flink-master HOST:8081",
    )
    sub.add_argument(
        "--workers",
        nargs="+",
        metavar=("KIND", "ADDRESS"),
        help=f"{prefix}where Flink's Python workers run: LOOPBACK, EXTERNAL HOST:PORT, PROCESS, "
        "or DOCKER IMAGE (default: LOOPBACK with --flink-master [local])",
    )


def placement_arguments(sub: Any) -> None:
    """Where the model runs, and in what dtype."""
    sub.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="where the model runs (default: auto)",
    )
    sub.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        help="of the model's linear layers (default: auto)",
    )


def model_arguments(sub: argparse.ArgumentParser) -> None:
    """Which model."""
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL,
        help="a folder or a hub name (default: $ALBEAM_MODEL, else albeam-small, which is here)",
    )
    sub.add_argument("--revision", help="branch, tag or commit of a hub name")


def opening_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options that say how a store is opened."""
    sub.add_argument(
        "--mode",
        choices=("hybrid", "dense", "lexical"),
        help="by vectors, by words (BM25), or by both (default: hybrid, or dense where the store "
        "has no lexical index)",
    )
    sub.add_argument(
        "--snapshot", type=whole_number, metavar="N", help="not the newest snapshot but N"
    )
    sub.add_argument("--model", help="where the store's model lies now, if it has moved")
    placement_arguments(sub)


def model_options(arguments: Any) -> Any:
    """Build `ModelOptions` from parsed arguments."""
    from transforms.models.options import ModelOptions

    if not arguments.model:
        raise BadInput("the model is blank; give --model FOLDER or a hub name, or leave it out")
    given = vars(arguments)
    return ModelOptions(
        model=arguments.model,
        revision=given.get("revision"),
        pooling=given.get("pooling"),
        layer=given.get("layer", -1),
        normalize=False if given.get("no_normalize") else None,
        max_tokens=given.get("max_tokens"),
        query_prompt=given.get("query_prompt"),
        passage_prompt=given.get("passage_prompt"),
    )
