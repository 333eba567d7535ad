"""``albeam search``, ``ask`` and ``similar``: parsed arguments to options."""

from typing import TYPE_CHECKING, Any

from pipeline.command_line.shared_arguments import model_options
from pipeline.search.arguments import reading_options
from pipeline.search.ask_arguments import ask_reading
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.options import RankOptions, SearchOptions, check_fusion
from transforms.search.reading_options import ReadingOptions

if TYPE_CHECKING:
    from transforms.search.store import Store


def run_search(arguments: Any) -> None:
    """Run ``albeam search``."""
    from pipeline.search.search import run
    from transforms.search.questions import read_questions

    given = arguments
    if given.like is not None or given.unlike is not None:
        _search_like(given)
        return
    if (given.question is None) == (given.questions is None):
        problem = "must be given either as QUESTION or in a file"
        remedy = "Give one of QUESTION and --questions FILE"
        raise BadInput("question", given.question, problem, remedy)
    reading = reading_options(given)
    if given.output is not None:
        _search_many(given, reading)
        return
    store = _open(given)
    many = given.questions is not None
    questions = read_questions(given.questions) if many else [given.question]
    run(store, questions, _rank_options(store, given), given.json, many, reading)


def run_ask(arguments: Any) -> None:
    """Run ``albeam ask``."""
    from pipeline.search.ask import run
    from transforms.search.questions import read_questions

    given = arguments
    reading, notes = ask_reading(given)
    if (given.question is None) == (given.questions is None):
        problem = "must be given either as QUESTION or in a file"
        remedy = "Give one of QUESTION and --questions FILE"
        raise BadInput("question", given.question, problem, remedy)
    given.offset = RankOptions.offset
    store = _open(given)
    many = given.questions is not None
    questions = read_questions(given.questions) if many else [given.question]
    options = _rank_options(store, given)
    run(store, questions, options, reading, given.threshold, notes, given.json, many)


def run_similar(arguments: Any) -> None:
    """Run ``albeam similar``."""
    from dataclasses import asdict

    from pipeline.command_line.console import counted, print_json, say
    from pipeline.search.similar import compare_texts, run

    given, model = arguments, model_options(arguments)
    placement = Placement(given.device, given.dtype)
    if given.pairs is None and len(given.text) == 2 and given.output is None:
        one, other = given.text
        found = compare_texts(one, other, model, placement)
        if given.json:
            print_json({"similarity": round(found, 6)})
        else:
            say(f"{found:.4f}")
        return
    if given.pairs is None or given.output is None or given.text:
        problem = "are neither two texts nor the files of --pairs and --output"
        remedy = "Give two texts, or --pairs FILE --output FILE"
        raise BadInput("texts", " ".join(given.text) or None, problem, remedy)
    done = run(given.pairs, given.output, model, placement)
    if given.json:
        print_json(asdict(done))
    else:
        mean = "" if done.mean is None else f", mean similarity {done.mean:.4f}"
        say(f"{done.output}: {counted(done.pairs, 'pair')}{mean}, in {done.seconds:.1f} seconds")


def _search_like(arguments: Any) -> None:
    from pipeline.search.search import print_like

    given = arguments
    if given.like is None:
        raise BadInput("unlike", ",".join(given.unlike), "needs --like", "Give --like ID as well")
    for option in ("question", "questions", "output", "fusion", "weight", "rerank", "reader"):
        value = getattr(given, option)
        if value not in (None, RankOptions.fusion):
            problem = "can't be combined with --like, which ranks by vectors of documents"
            raise BadInput(option, value, problem, "Leave one of them out")
    ways = given.where, given.fusion, None, given.diverse, given.offset
    options = RankOptions(given.k, given.mode or "dense", *ways)
    print_like(_open(given), given.like, given.unlike or [], options, given.json)


def _search_many(arguments: Any, reading: ReadingOptions) -> None:
    from pipeline.search.batch_search import run
    from pipeline.search.report import print_run

    given = arguments
    if given.questions is None:
        problem = "needs a file of questions"
        raise BadInput("output", given.output, problem, "Give --questions FILE.parquet")
    ranked = _rank_options(_open(given), given)
    options = SearchOptions(given.store, 0, ranked, given.model, given.device, given.dtype, reading)
    what = (given.snapshot, given.questions, given.output, given.runner, given.beam_args)
    print_run(run(options, *what), given.json)


def _open(arguments: Any) -> "Store":
    from transforms.search.store import Store

    given = arguments
    return Store.open(given.store, given.snapshot, given.model, given.device, given.dtype)


def _rank_options(store: "Store", arguments: Any) -> RankOptions:
    from pipeline.search.search import chosen_mode

    given = arguments
    mode = chosen_mode(store, given.mode)
    ways = given.where, given.fusion, given.weight, given.diverse, given.offset
    options = RankOptions(given.k, mode, *ways)
    check_fusion(options, (mode,))
    return options
