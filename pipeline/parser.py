"""The parser of the command line, made from the table of all commands."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.bench.arguments import bench_arguments
from pipeline.bench.commands import run_bench
from pipeline.bundles.arguments import bundle_arguments
from pipeline.bundles.commands import run_bundle
from pipeline.command_line.argument_parser import Parser, Version
from pipeline.command_line.exit_codes import EPILOG
from pipeline.command_line.shared_arguments import store_argument
from pipeline.compression.arguments import compress_arguments
from pipeline.compression.commands import run_compress, run_export
from pipeline.compression.export_arguments import export_arguments
from pipeline.demo_command import demo_arguments, run_demo
from pipeline.evaluation.arguments import compare_arguments, evaluate_arguments
from pipeline.evaluation.commands import run_compare, run_evaluate
from pipeline.ingest.arguments import embed_arguments, plan_arguments, watch_arguments
from pipeline.ingest.commands import run_embed, run_plan, run_watch
from pipeline.maintenance.arguments import (
    compact_arguments,
    delete_arguments,
    index_arguments,
    rollback_arguments,
    tune_arguments,
    vacuum_arguments,
    verify_arguments,
)
from pipeline.maintenance.commands import (
    run_compact,
    run_delete,
    run_index,
    run_rollback,
    run_snapshots,
    run_tune,
    run_vacuum,
    run_verify,
)
from pipeline.runners.arguments import doctor_arguments
from pipeline.runners.commands import run_doctor
from pipeline.search.arguments import search_arguments, similar_arguments
from pipeline.search.ask_arguments import ask_arguments
from pipeline.search.commands import run_ask, run_search, run_similar
from pipeline.serving.arguments import mcp_arguments, serve_arguments
from pipeline.serving.commands import run_mcp, run_serve
from pipeline.tasks.arguments import (
    classify_arguments,
    evaluate_task_arguments,
    predict_arguments,
)
from pipeline.tasks.commands import run_classify, run_evaluate_task, run_predict
from pipeline.training.arguments import distill_arguments, pretrain_arguments, retrieve_arguments
from pipeline.training.commands import (
    run_distill,
    run_finetune_classify,
    run_finetune_read,
    run_finetune_rerank,
    run_finetune_similar,
    run_finetune_tag,
    run_pretrain,
    run_retrieve,
)
from pipeline.training.task_arguments import (
    classify_training_arguments,
    read_training_arguments,
    rerank_training_arguments,
    similar_training_arguments,
    tag_training_arguments,
)


def _never(_: Any) -> bool:
    return False


def _always(_: Any) -> bool:
    return True


def _writes_output(arguments: Any) -> bool:
    return arguments.output is not None


@dataclass(frozen=True)
class Command:
    """One command of albeam.

    Attributes:
        help: what it does, as an imperative without a full stop.
        add_arguments: adds its options to a parser.
        run: runs it with the parsed arguments.
        uses_beam: whether a call starts a Beam job, so that unknown options go to Beam.
        resumes: whether an interrupted run continues only with ``--resume``.
        prints_json: whether it has the common option ``--json``.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Any], None]
    uses_beam: Callable[[Any], bool] = _never
    resumes: bool = False
    prints_json: bool = True


COMMANDS: dict[str, Command] = {
    "embed": Command(
        "embed Parquet files into a store, and index it", embed_arguments, run_embed, _always
    ),
    "watch": Command("embed new Parquet files as they appear", watch_arguments, run_watch, _always),
    "plan": Command(
        "estimate the time, size and cost of embedding some files",
        plan_arguments,
        run_plan,
        _always,
    ),
    "search": Command(
        "find the documents nearest to a question", search_arguments, run_search, _writes_output
    ),
    "ask": Command(
        "answer a question by a span of a passage, with its source", ask_arguments, run_ask
    ),
    "similar": Command("measure how similar texts are", similar_arguments, run_similar),
    "serve": Command("serve stores over HTTP", serve_arguments, run_serve, prints_json=False),
    "mcp": Command("give stores to a model as tools", mcp_arguments, run_mcp, prints_json=False),
    "bundle": Command(
        "write a store as a folder that is searched without albeam, or as a static page",
        bundle_arguments,
        run_bundle,
    ),
    "evaluate": Command(
        "measure retrieval on questions with known answers", evaluate_arguments, run_evaluate
    ),
    "compare": Command(
        "compare two runs: which is better, and on which questions", compare_arguments, run_compare
    ),
    "classify": Command(
        "fit a head that classifies documents, on the vectors of a store",
        classify_arguments,
        run_classify,
    ),
    "predict": Command(
        "predict the classes of many documents with a head", predict_arguments, run_predict, _always
    ),
    "evaluate-task": Command(
        "measure a head on labelled documents", evaluate_task_arguments, run_evaluate_task
    ),
    "delete": Command("remove documents from a store", delete_arguments, run_delete),
    "snapshots": Command("list the snapshots of a store", store_argument, run_snapshots),
    "rollback": Command(
        "make a new snapshot with the content of an old one", rollback_arguments, run_rollback
    ),
    "vacuum": Command("remove the files that no kept snapshot needs", vacuum_arguments, run_vacuum),
    "compact": Command(
        "merge segments, and drop their dead rows", compact_arguments, run_compact, _always
    ),
    "index": Command(
        "build a new index of the vectors in a store", index_arguments, run_index, _always
    ),
    "tune": Command("measure the recall and latency of a store's index", tune_arguments, run_tune),
    "verify": Command(
        "check every file of a store against its manifests", verify_arguments, run_verify
    ),
    "demo": Command(
        "embed the documentation of Python's standard library, and search it",
        demo_arguments,
        run_demo,
    ),
    "doctor": Command(
        "report what is installed, what is missing, and how to fix it",
        doctor_arguments,
        run_doctor,
        _always,
    ),
    "pretrain": Command(
        "train an ALBERT on masked words and the order of segments",
        pretrain_arguments,
        run_pretrain,
        resumes=True,
    ),
    "distill": Command(
        "train an ALBERT sentence encoder from a teacher",
        distill_arguments,
        run_distill,
        resumes=True,
    ),
    "finetune retrieve": Command(
        "train a model to find the passages that answer questions",
        retrieve_arguments,
        run_retrieve,
        resumes=True,
    ),
    "finetune classify": Command(
        "train a network to classify texts",
        classify_training_arguments,
        run_finetune_classify,
        resumes=True,
    ),
    "finetune tag": Command(
        "train a network to find entities in texts",
        tag_training_arguments,
        run_finetune_tag,
        resumes=True,
    ),
    "finetune rerank": Command(
        "train a network to order the passages that a search found",
        rerank_training_arguments,
        run_finetune_rerank,
        resumes=True,
    ),
    "finetune read": Command(
        "train a network to find the answers to questions in passages",
        read_training_arguments,
        run_finetune_read,
        resumes=True,
    ),
    "finetune similar": Command(
        "train a model to tell how similar two texts are",
        similar_training_arguments,
        run_finetune_similar,
        resumes=True,
    ),
    "compress": Command(
        "make a model smaller: fewer heads, inner units and layers",
        compress_arguments,
        run_compress,
        resumes=True,
    ),
    "export": Command(
        "write a model as an ONNX file, which ONNX Runtime and OpenVINO run",
        export_arguments,
        run_export,
    ),
    "bench": Command(
        "measure albeam's tokens per second, and those of other systems",
        bench_arguments,
        run_bench,
        prints_json=False,
    ),
}


#: Commands with tasks: what they do, and the task of a call that names none.
FAMILIES = {"finetune": ("train a model for a task", "retrieve")}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; its result ``command`` is a key of `COMMANDS`."""
    verbose = Parser(add_help=False)
    verbose.add_argument(
        "-v", "--verbose", action="store_true", help="show the logs of the libraries"
    )
    json = Parser(add_help=False)
    json.add_argument("--json", action="store_true", help="print JSON, with stable keys")
    parser = Parser(
        prog="albeam",
        description="Turn a corpus of text in Parquet into a searchable store of ALBERT vectors.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action=Version, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    tasks: dict[str, Any] = {}
    for name, command in COMMANDS.items():
        family, _, task = name.partition(" ")
        if task and family not in tasks:
            tasks[family] = _add_family(subparsers, family)
        added = (tasks[family] if task else subparsers).add_parser(
            task or name,
            parents=[verbose, json] if command.prints_json else [verbose],
            help=command.help,
            description=command.help + ".",
            epilog=EPILOG,
            allow_abbrev=False,
        )
        command.add_arguments(added)
        added.set_defaults(command=name)
    return parser


def _add_family(subparsers: Any, name: str) -> Any:
    """Add a command with tasks, and return what takes the parsers of its tasks."""
    about, default = FAMILIES[name]
    parser = subparsers.add_parser(
        name,
        help=about,
        description=f"{about}. Without TASK: {default}.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.default_task = default
    return parser.add_subparsers(required=True, metavar="TASK")
