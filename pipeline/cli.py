"""The command line. argv is read here and nowhere else; each command imports what it needs."""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pipeline.arguments import build_parser, option_names
from pipeline.shared_arguments import index_options
from transforms.errors import AlbeamError, BadInput, Conflict, RecallMissed


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    many = arguments.command == "search" and arguments.output is not None
    if rest and arguments.command not in _ON_BEAM and not many:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.beam_args = tuple(rest)
    _quiet(arguments.verbose)
    try:
        with _interruptible():
            _COMMANDS[arguments.command](arguments)
    except BadInput as error:
        return _fail(error, 2)
    except RecallMissed as error:
        return _fail(error, 3)
    except Conflict as error:
        return _fail(error, 4)
    except AlbeamError as error:
        if arguments.verbose:
            traceback.print_exc()
        return _fail(error, 1)
    except ImportError as error:
        if "albeam[" not in str(error):
            raise
        return _fail(error, 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(error, 1)
    return 0


def _embed(arguments: Any) -> None:
    from pipeline.embed import run
    from pipeline.options import EmbedOptions
    from pipeline.report import print_summary
    from pipeline.runners import check_beam_args
    from transforms.model import Placement
    from transforms.planning import ColumnOptions

    check_beam_args(arguments.beam_args, option_names("embed"))
    summary = run(
        EmbedOptions(
            inputs=tuple(arguments.inputs),
            store=arguments.store,
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
            recall_questions=arguments.recall_questions,
            rows_per_part=arguments.rows_per_part,
            mode=arguments.mode,
            on_duplicate=arguments.on_duplicate,
            resume=not arguments.no_resume,
            runner=arguments.runner,
            beam_args=arguments.beam_args,
        )
    )
    print_summary(summary, arguments.json)


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

    store = storage.absolute(arguments.store)
    storage.check_exclusive(store)
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


def _bench(arguments: Any) -> None:
    from dataclasses import replace
    from pathlib import Path

    from pipeline.bench import BenchOptions, quick, run
    from pipeline.bench_store import StoreOptions
    from pipeline.bench_texts import CORPORA, SHAPES
    from pipeline.report import print_bench, print_json

    options = BenchOptions(
        systems=_names(arguments.systems),
        device=arguments.device,
        data=Path(arguments.data),
    )
    chosen = _names(arguments.shapes), _names(arguments.corpora)
    options = quick(options) if arguments.quick else options
    if any(chosen):
        shapes, corpora = chosen[0] or SHAPES, chosen[1] or CORPORA
        options = replace(options, pairs=tuple((s, c) for s in shapes for c in corpora))
    if arguments.memory or arguments.store:
        options = replace(
            options,
            pairs=(),
            memory=options.memory if arguments.memory else None,
            store=StoreOptions() if arguments.store else None,
        )
    elif any(chosen) or options.systems:
        options = replace(options, memory=None, store=None)
    given = {"fewest": arguments.texts, "most": arguments.texts, "rounds": arguments.rounds}
    given = {name: value for name, value in given.items() if value is not None}
    report = run(replace(options, effort=replace(options.effort, **given)), _tell)
    if arguments.json == "-":
        print_json(report)
        return
    print_bench(report)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _names(value: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in value.split(","))))


def _tell(doing: str) -> None:
    """Say on a terminal what is being done, in one line that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{doing}", end="", file=sys.stderr, flush=True)


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


def _distill(arguments: Any) -> None:
    from dataclasses import fields

    from pipeline.distill import DistillOptions, distill
    from transforms.student import Shape

    given = vars(arguments) | {"texts": tuple(arguments.texts), "work": _work(arguments)}
    shape = {field.name: given[field.name] for field in fields(Shape) if field.name in given}
    rest = {f.name: given[f.name] for f in fields(DistillOptions) if f.name in given}
    distill(DistillOptions(**rest | {"shape": Shape(**shape)}))


def _finetune(arguments: Any) -> None:
    from dataclasses import fields

    from pipeline.finetune import FinetuneOptions, finetune

    pairs = tuple((passages, questions) for passages, questions in arguments.pairs)
    given = vars(arguments) | {"pairs": pairs, "work": _work(arguments)}
    finetune(
        FinetuneOptions(
            **{f.name: given[f.name] for f in fields(FinetuneOptions) if f.name in given}
        )
    )


def _work(arguments: Any) -> Any:
    """The folder of checkpoints: beside the output, where none is given."""
    return arguments.work or arguments.output.with_name(arguments.output.name + ".work")


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
_ON_BEAM = ("embed", "compact", "index")
_COMMANDS: dict[str, Callable[[Any], None]] = {
    "embed": _embed,
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
    "distill": _distill,
    "finetune": _finetune,
    "bench": _bench,
}


def _quiet(verbose: bool) -> None:
    """Hush the libraries, unless asked not to."""
    logging.basicConfig(
        format="%(levelname)s %(name)s: %(message)s",
        level=logging.INFO if verbose else logging.ERROR,
    )
    if verbose:
        return
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("transforms").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """End at once when interrupted: raised in a worker, an interrupt can get lost.

    A store survives any end. Where interrupts are ignored or handled already, they stay so.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(*_: object) -> None:
    # Behind sys.stderr may be a buffer; a terminal's progress line has hidden the cursor.
    cursor = b"\x1b[?25h\n" if os.isatty(2) else b""
    os.write(2, cursor + b"albeam: interrupted; run the same command again to go on\n")
    os._exit(130)


def _fail(message: object, code: int) -> int:
    print(f"albeam: {' '.join(str(message).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
