"""``albeam embed``, ``plan`` and ``watch``: parsed arguments to options."""

import sys
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.command_line.console import tell
from pipeline.command_line.shared_arguments import index_options, lexical_options, model_options
from pipeline.ingest.options import EmbedOptions, PlanOptions, WatchCommandOptions
from transforms.catalog.column_lists import parse_names, parse_pairs
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.models.options import Placement


def run_embed(arguments: Any) -> None:
    """Run ``albeam embed``."""
    from pipeline.ingest.embed import run
    from pipeline.ingest.report import print_summary

    options = replace(
        _store_options(arguments),
        recall_questions=arguments.recall_questions,
        mode=arguments.mode,
        on_duplicate=arguments.on_duplicate,
        resume=not arguments.no_resume,
    )
    print_summary(run(options), arguments.json)


def run_plan(arguments: Any) -> None:
    """Run ``albeam plan``."""
    from pipeline.ingest.plan import run
    from pipeline.ingest.report import print_plan

    if arguments.recall_questions is not None:
        problem = "has no effect on a plan, which measures no recall"
        raise BadInput("--recall-questions", arguments.recall_questions, problem, "Leave it out")
    options = PlanOptions(
        _embed_options(arguments),
        arguments.rows,
        arguments.parallel,
        arguments.tokens_per_second,
        arguments.price_per_hour,
    )
    print_plan(run(options), arguments.json)


def run_watch(arguments: Any) -> None:
    """Run ``albeam watch``."""
    from pipeline.ingest.report import print_watched
    from pipeline.ingest.watch import run

    options = WatchCommandOptions(
        _store_options(arguments), arguments.every, arguments.until_idle, arguments.max_segments
    )
    print_watched(run(options, partial(tell, stream=sys.stderr)), arguments.json)


def _embed_options(arguments: Any) -> EmbedOptions:
    """Return the options that embed, plan and watch share."""
    return EmbedOptions(
        inputs=tuple(arguments.inputs),
        store="",
        model=model_options(arguments),
        columns=ColumnOptions(
            arguments.id_column,
            arguments.text_column,
            parse_pairs("metadata_columns", arguments.metadata_columns),
            arguments.all_columns,
            parse_names("exclude_columns", arguments.exclude_columns),
        ),
        stride=arguments.stride,
        placement=Placement(arguments.device, arguments.dtype, arguments.engine),
        vector_dtype=arguments.vector_dtype,
        index=index_options(arguments),
        rows_per_part=arguments.rows_per_part,
        runner=arguments.runner,
        beam_args=arguments.beam_args,
    )


def _store_options(arguments: Any) -> EmbedOptions:
    """Return the options that embed and watch share."""
    lexical = lexical_options(arguments)
    assert lexical is not None
    return replace(
        _embed_options(arguments),
        store=arguments.store,
        lexical=lexical,
        classify=arguments.classify,
        label_column=arguments.label_column,
    )
