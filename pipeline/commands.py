"""What each command does with its parsed arguments; each imports only what it needs."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.arguments import option_names
from pipeline.bench_command import run_bench
from pipeline.shared_arguments import index_options
from pipeline.training_commands import run_distill, run_finetune
from transforms.errors import BadInput


def _embed(arguments: Any) -> None:
    from pipeline.embed import run
    from pipeline.report import print_summary
    from pipeline.runners import check_beam_args

    check_beam_args(arguments.beam_args, option_names("embed"))
    options = replace(
        _embed_options(arguments),
        recall_questions=arguments.recall_questions,
        mode=arguments.mode,
        on_duplicate=arguments.on_duplicate,
        resume=not arguments.no_resume,
    )
    print_summary(run(options), arguments.json)


def _plan(arguments: Any) -> None:
    from pipeline.plan import run
    from pipeline.plan_options import PlanOptions
    from pipeline.report import print_plan
    from pipeline.runners import check_beam_args

    check_beam_args(arguments.beam_args, option_names("plan"))
    given = arguments
    how = (given.rows, given.parallel, given.tokens_per_second, given.price_per_hour)
    print_plan(run(PlanOptions(_embed_options(arguments), *how)), arguments.json)


def _embed_options(arguments: Any) -> Any:
    """What embedding and planning it are both told."""
    from pipeline.options import EmbedOptions
    from transforms.model import Placement
    from transforms.planning import ColumnOptions

    return EmbedOptions(
        inputs=tuple(arguments.inputs),
        store=getattr(arguments, "store", ""),
        model=_model(arguments),
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


def _search(arguments: Any) -> None:
    from pipeline.search import read_questions, run
    from transforms.store import Store

    if (arguments.question is None) == (arguments.questions is None):
        raise BadInput("give one QUESTION, or --questions FILE")
    if arguments.output is not None:
        _search_many(arguments)
        return
    store = Store.open(
        arguments.store, arguments.snapshot, arguments.model, arguments.device, arguments.dtype
    )
    many = arguments.questions is not None
    questions = read_questions(arguments.questions) if many else [arguments.question]
    run(store, questions, arguments.k, arguments.mode, arguments.json, many, arguments.where)


def _search_many(arguments: Any) -> None:
    from pipeline.report import print_run
    from pipeline.search_many import run
    from transforms.searching import SearchOptions

    if arguments.questions is None:
        raise BadInput("--output is for many questions: give --questions FILE.parquet")
    given = arguments
    how = (given.k, given.mode, given.where, given.model, given.device, given.dtype)
    options = SearchOptions(given.store, 0, *how)
    what = (given.snapshot, given.questions, given.output, given.runner, given.beam_args)
    print_run(run(options, *what), given.json)


def _evaluate(arguments: Any) -> None:
    from pipeline.evaluate import run
    from pipeline.report import print_metrics
    from transforms.store import Store

    store = Store.open(
        arguments.store, arguments.snapshot, arguments.model, arguments.device, arguments.dtype
    )
    report = run(store, arguments.questions, arguments.k, arguments.mode)
    print_metrics(report, arguments.json)


def _delete(arguments: Any) -> None:
    from pipeline.delete import read_ids, run
    from pipeline.report import print_deleted

    if bool(arguments.ids) == bool(arguments.file):
        raise BadInput("give IDs, or --ids FILE")
    ids = read_ids(arguments.file) if arguments.file else list(arguments.ids)
    print_deleted(run(arguments.store, ids), arguments.json)


def _rollback(arguments: Any) -> None:
    from pipeline.report import print_json
    from transforms import storage
    from transforms.commits import roll_back
    from transforms.snapshot import read_snapshot

    store = storage.absolute(arguments.store)
    read_snapshot(store, arguments.number)
    storage.probe_exclusive(store)
    made = roll_back(store, arguments.number)
    if arguments.json:
        print_json({"store": store, "snapshot": made.number, "documents": made.documents})
    else:
        print(
            f"{store}: snapshot {made.number} has the content of {arguments.number}: "
            f"{made.documents:,} documents"
        )


def _vacuum(arguments: Any) -> None:
    from pipeline.report import print_vacuumed
    from pipeline.vacuum import run

    done = run(arguments.store, arguments.keep, arguments.older_than, arguments.dry_run)
    print_vacuumed(done, arguments.json)


def _snapshots(arguments: Any) -> None:
    from pipeline.report import print_snapshots
    from pipeline.snapshots import run

    print_snapshots(run(arguments.store), arguments.json)


def _index(arguments: Any) -> None:
    from pipeline.index import run
    from pipeline.report import print_indexed

    options = index_options(arguments)
    asked, tell = arguments.recall_questions, partial(print, file=sys.stderr)
    done = run(arguments.store, options, arguments.runner, arguments.beam_args, asked, tell)
    print_indexed(done, arguments.json)


def _tune(arguments: Any) -> None:
    from pipeline.report import print_tuned
    from pipeline.tune import run
    from transforms.store import Store

    store = Store.open(arguments.store, arguments.snapshot)
    print_tuned(run(store, arguments.queries, arguments.plot), arguments.json)


def _verify(arguments: Any) -> None:
    from pipeline.report import print_verified
    from pipeline.verify import run

    done = run(arguments.store, arguments.deep, arguments.model, arguments.snapshot)
    print_verified(done, arguments.json)


def _demo(arguments: Any) -> None:
    from pipeline.demo import run

    run(_model(arguments), arguments.corpus, arguments.store, arguments.limit, arguments.json)


def _model(arguments: Any) -> Any:
    from transforms.model import ModelOptions

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


def _metadata(value: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in filter(None, (item.strip() for item in value.split(","))):
        new, _, old = item.partition("=")
        pairs.append((new, old or new))
    return tuple(pairs)


def _compact(arguments: Any) -> None:
    from pipeline.compact import run
    from pipeline.report import print_compacted
    from pipeline.runners import check_beam_args

    check_beam_args(arguments.beam_args, option_names("compact"))
    done = run(
        arguments.store,
        arguments.max_segments,
        arguments.runner,
        arguments.beam_args,
        index=arguments.index,
        recall_target=arguments.recall_target,
        limits=index_options(arguments),
    )
    print_compacted(done, arguments.json)


#: Commands whose unknown options go to Beam.
ON_BEAM = ("embed", "plan", "compact", "index")
COMMANDS: dict[str, Callable[[Any], None]] = {
    "embed": _embed,
    "plan": _plan,
    "search": _search,
    "evaluate": _evaluate,
    "delete": _delete,
    "snapshots": _snapshots,
    "rollback": _rollback,
    "vacuum": _vacuum,
    "compact": _compact,
    "index": _index,
    "tune": _tune,
    "verify": _verify,
    "demo": _demo,
    "distill": run_distill,
    "finetune": run_finetune,
    "bench": run_bench,
}
