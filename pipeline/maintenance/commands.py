"""The maintenance commands: from parsed arguments to options, and from results to output."""

import sys
from functools import partial
from typing import Any

from pipeline.command_line.console import tell
from pipeline.command_line.shared_arguments import index_options, lexical_options
from pipeline.maintenance.options import (
    CompactOptions,
    DeleteOptions,
    IndexCommandOptions,
    TuneOptions,
    VacuumOptions,
)


def run_delete(arguments: Any) -> None:
    """Run ``albeam delete``."""
    from pipeline.maintenance.delete import read_ids, run
    from pipeline.maintenance.report import print_deleted

    options = DeleteOptions(tuple(arguments.ids), arguments.file)
    ids = list(options.ids) if options.file is None else read_ids(options.file)
    print_deleted(run(arguments.store, ids), arguments.json)


def run_rollback(arguments: Any) -> None:
    """Run ``albeam rollback``."""
    from pipeline.maintenance.report import print_rolled_back
    from pipeline.maintenance.rollback import run

    done = run(arguments.store, arguments.number)
    print_rolled_back(done, arguments.number, arguments.json)


def run_vacuum(arguments: Any) -> None:
    """Run ``albeam vacuum``."""
    from pipeline.maintenance.report import print_vacuumed
    from pipeline.maintenance.vacuum import run

    options = VacuumOptions(arguments.keep, arguments.older_than, arguments.dry_run)
    print_vacuumed(run(arguments.store, options), arguments.json)


def run_snapshots(arguments: Any) -> None:
    """Run ``albeam snapshots``."""
    from pipeline.maintenance.report import print_snapshots
    from pipeline.maintenance.snapshots import run

    print_snapshots(run(arguments.store), arguments.json)


def run_index(arguments: Any) -> None:
    """Run ``albeam index``."""
    from pipeline.maintenance.index import run
    from pipeline.maintenance.report import print_indexed

    lexical = lexical_options(arguments)
    only_lexical = lexical is not None and arguments.index is None
    options = IndexCommandOptions(
        None if only_lexical else index_options(arguments),
        lexical,
        arguments.recall_questions,
        arguments.runner,
        arguments.beam_args,
    )
    done = run(arguments.store, options, partial(tell, stream=sys.stderr))
    print_indexed(done, arguments.json)


def run_tune(arguments: Any) -> None:
    """Run ``albeam tune``."""
    from pipeline.maintenance.report import print_tuned
    from pipeline.maintenance.tune import run
    from transforms.search.store import Store

    options = TuneOptions(arguments.queries, arguments.plot)
    store = Store.open(arguments.store, arguments.snapshot)
    print_tuned(run(store, options), arguments.json)


def run_verify(arguments: Any) -> None:
    """Run ``albeam verify``."""
    from pipeline.maintenance.report import print_verified
    from pipeline.maintenance.verify import run

    done = run(arguments.store, arguments.deep, arguments.model, arguments.snapshot)
    print_verified(done, arguments.json)


def run_compact(arguments: Any) -> None:
    """Run ``albeam compact``."""
    from pipeline.maintenance.compact import run
    from pipeline.maintenance.report import print_compacted

    options = CompactOptions(
        arguments.max_segments,
        index=arguments.index,
        recall_target=arguments.recall_target,
        memory=arguments.index_memory,
        gpu=arguments.gpu,
        shards=arguments.shards,
        runner=arguments.runner,
        beam_args=arguments.beam_args,
    )
    print_compacted(run(arguments.store, options), arguments.json)
