"""What each command does with its parsed arguments; each imports only what it needs."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.arguments import option_names
from pipeline.bench_command import run_bench
from pipeline.evaluation_commands import reading_options, run_compare, run_evaluate
from pipeline.shared_arguments import index_options, lexical_options
from pipeline.training_commands import run_distill, run_finetune
from transforms.errors import BadInput


def _embed(arguments: Any) -> None:
    from pipeline.embed import run
    from pipeline.report import print_summary
    from pipeline.runners import check_beam_args

    check_beam_args(arguments.beam_args, option_names("embed"))
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


def _watch(arguments: Any) -> None:
    from pipeline.report import print_watched
    from pipeline.runners import check_beam_args
    from pipeline.watch import run

    check_beam_args(arguments.beam_args, option_names("watch"))
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


def _search(arguments: Any) -> None:
    from pipeline.search import read_questions, run

    if (arguments.question is None) == (arguments.questions is None):
        raise BadInput("give one QUESTION, or --questions FILE")
    reading = reading_options(arguments)
    if arguments.output is not None:
        if reading.wanted:
            raise BadInput("--rerank and --reader print what they find; leave --output out")
        _search_many(arguments)
        return
    store = _open(arguments)
    many = arguments.questions is not None
    questions = read_questions(arguments.questions) if many else [arguments.question]
    ranked = _rank_options(store, arguments)
    run(store, questions, ranked, arguments.json, many, reading)


def _search_many(arguments: Any) -> None:
    from pipeline.report import print_run
    from pipeline.search_many import run
    from transforms.searching import SearchOptions

    if arguments.questions is None:
        raise BadInput("--output is for many questions: give --questions FILE.parquet")
    given = arguments
    ranked = _rank_options(_open(given), given)
    options = SearchOptions(given.store, 0, ranked, given.model, given.device, given.dtype)
    what = (given.snapshot, given.questions, given.output, given.runner, given.beam_args)
    print_run(run(options, *what), given.json)


def _open(arguments: Any) -> Any:
    from transforms.store import Store

    given = arguments
    return Store.open(given.store, given.snapshot, given.model, given.device, given.dtype)


def _rank_options(store: Any, arguments: Any) -> Any:
    from pipeline.search import chosen_mode
    from transforms.retrieval import RankOptions, check_mixing

    given = arguments
    mode = chosen_mode(store, given.mode)
    options = RankOptions(given.k, mode, given.where, given.fusion, given.weight, given.diverse)
    check_mixing(options, (mode,))
    return options


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

    lexical = lexical_options(arguments)
    options = None if lexical is not None and arguments.index is None else index_options(arguments)
    asked, tell = arguments.recall_questions, partial(print, file=sys.stderr)
    how = (arguments.runner, arguments.beam_args, asked, tell, lexical)
    done = run(arguments.store, options, *how)
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


def _doctor(arguments: Any) -> None:
    from pipeline.doctor import check_works, run
    from pipeline.report import print_diagnosis
    from transforms.model import ModelOptions

    found = run(arguments.runner, arguments.beam_args, ModelOptions(arguments.model))
    print_diagnosis(found, arguments.json)
    check_works(found)


#: Commands that go on where they were when they are told to.
RESUMED = ("distill", "finetune")
#: Commands whose unknown options go to Beam.
ON_BEAM = ("embed", "watch", "plan", "compact", "index", "doctor")
COMMANDS: dict[str, Callable[[Any], None]] = {
    "embed": _embed,
    "watch": _watch,
    "plan": _plan,
    "search": _search,
    "evaluate": run_evaluate,
    "compare": run_compare,
    "delete": _delete,
    "snapshots": _snapshots,
    "rollback": _rollback,
    "vacuum": _vacuum,
    "compact": _compact,
    "index": _index,
    "tune": _tune,
    "verify": _verify,
    "demo": _demo,
    "doctor": _doctor,
    "distill": run_distill,
    "finetune": run_finetune,
    "bench": run_bench,
}
