"""``albeam search``: parsed arguments to options."""

from typing import Any

from transforms.errors import BadInput


def run_search(arguments: Any) -> None:
    """Run ``albeam search``."""
    from pipeline.search.search import run
    from transforms.search.questions import read_questions

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
    from pipeline.search.batch_search import run
    from pipeline.search.report import print_run
    from transforms.search.batch_search import SearchOptions

    if arguments.questions is None:
        raise BadInput("--output is for many questions: give --questions FILE.parquet")
    given = arguments
    ranked = _rank_options(_open(given), given)
    options = SearchOptions(given.store, 0, ranked, given.model, given.device, given.dtype)
    what = (given.snapshot, given.questions, given.output, given.runner, given.beam_args)
    print_run(run(options, *what), given.json)


def _open(arguments: Any) -> Any:
    from transforms.search.store import Store

    given = arguments
    return Store.open(given.store, given.snapshot, given.model, given.device, given.dtype)


def _rank_options(store: Any, arguments: Any) -> Any:
    from pipeline.search.search import chosen_mode
    from transforms.search.options import RankOptions, check_mixing

    given = arguments
    mode = chosen_mode(store, given.mode)
    options = RankOptions(given.k, mode, given.where, given.fusion, given.weight, given.diverse)
    check_mixing(options, (mode,))
    return options


def reading_options(arguments: Any) -> Any:
    """Which models read the hits."""
    from pipeline.search.rerank import ReadingOptions
    from transforms.models.options import Placement

    given = arguments
    placement = Placement(given.device, given.dtype)
    return ReadingOptions(given.rerank, given.reranker, given.reader, given.no_answer, placement)
