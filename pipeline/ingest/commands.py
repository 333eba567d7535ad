"""``albeam embed``, ``plan`` and ``watch``: parsed arguments to options."""

import sys
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.command_line.shared_arguments import index_options, lexical_options, model_options


def run_embed(arguments: Any) -> None:
    """Run ``albeam embed``."""
    from pipeline.ingest.embed import run
    from pipeline.ingest.report import print_summary

    options = replace(
        _embed_options(arguments),
        store=arguments.store,
        lexical=lexical_options(arguments),
        recall_questions=arguments.recall_questions,
        mode=arguments.mode,
        on_duplicate=arguments.on_duplicate,
        resume=not arguments.no_resume,
    )
    print_summary(run(options), arguments.json)


def run_plan(arguments: Any) -> None:
    """Run ``albeam plan``."""
    from pipeline.ingest.options import PlanOptions
    from pipeline.ingest.plan import run
    from pipeline.ingest.report import print_plan

    given = arguments
    how = (given.rows, given.parallel, given.tokens_per_second, given.price_per_hour)
    print_plan(run(PlanOptions(_embed_options(arguments), *how)), arguments.json)


def _embed_options(arguments: Any) -> Any:
    """What embedding and planning it are both told."""
    from pipeline.ingest.options import EmbedOptions
    from transforms.catalog.options import ColumnOptions
    from transforms.models.options import Placement

    return EmbedOptions(
        inputs=tuple(arguments.inputs),
        store=getattr(arguments, "store", ""),
        model=model_options(arguments),
        columns=ColumnOptions(
            arguments.id_column,
            arguments.text_column,
            _metadata(arguments.metadata_columns),
            arguments.all_columns,
        ),
        stride=arguments.stride,
        placement=Placement(arguments.device, arguments.dtype),
        vector_dtype=arguments.vector_dtype,
        index=index_options(arguments),
        rows_per_part=arguments.rows_per_part,
        runner=arguments.runner,
        beam_args=arguments.beam_args,
    )


def run_watch(arguments: Any) -> None:
    """Run ``albeam watch``."""
    from pipeline.ingest.report import print_watched
    from pipeline.ingest.watch import run

    done = run(
        replace(
            _embed_options(arguments),
            store=arguments.store,
            lexical=lexical_options(arguments),
        ),
        arguments.every,
        arguments.until_idle,
        arguments.max_segments,
        partial(print, file=sys.stderr, flush=True),
    )
    print_watched(done, arguments.json)


def _metadata(value: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in filter(None, (item.strip() for item in value.split(","))):
        new, _, old = item.partition("=")
        pairs.append((new, old or new))
    return tuple(pairs)
