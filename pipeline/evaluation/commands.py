"""``albeam evaluate`` and ``albeam compare``: parsed arguments to options."""

from typing import Any

from pipeline.command_line.console import note, say
from pipeline.evaluation.options import ALL, CompareOptions, EvaluateOptions
from pipeline.search.arguments import reading_options
from transforms.errors import BadInput
from transforms.search.options import RankOptions
from transforms.search.reading_options import READ

#: Options that have no effect with ``--calibrate``.
_NOT_CALIBRATED = ("tune", "modes", "beside", "per_question", "run", "report", "no_answer")
#: Options that have no effect with ``--tune``.
_NOT_TUNED = (
    *("mode", "modes", "beside", "per_question", "run", "report"),
    *("where", "weight", "diverse"),
    *("rerank", "reranker", "reader", "no_answer"),
)


def run_evaluate(arguments: Any) -> None:
    """Run ``albeam evaluate``."""
    from pipeline.evaluation.evaluate import evaluate
    from pipeline.evaluation.report import print_evaluation, print_metrics
    from pipeline.search.search import chosen_mode
    from transforms.search.store import Store

    given = arguments
    _check_options(given)
    store = Store.open(given.store, given.snapshot, given.model, given.device, given.dtype)
    if given.tune:
        _learn_weight(store, given)
        return
    if given.calibrate:
        _calibrate(store, given)
        return
    several = given.modes is not None or bool(given.beside)
    if given.modes == (ALL,):
        # Prints a note if the store has only one mode.
        chosen_mode(store, None)
    found = evaluate(
        store,
        EvaluateOptions(
            questions=given.questions,
            k=given.k,
            rank=RankOptions(
                where=given.where,
                fusion=given.fusion,
                weight=given.weight,
                diverse=given.diverse,
            ),
            modes=(chosen_mode(store, given.mode),) if given.modes is None else given.modes,
            beside=tuple(given.beside),
            per_question=given.per_question,
            run=given.run,
            report=given.report,
            colour=given.colour,
            timed=several or given.report is not None,
            reading=reading_options(given),
            seed=given.seed,
        ),
    )
    if several:
        print_evaluation(found, given.json)
    else:
        print_metrics(found, given.json)
    for sentence in found.checks.notes:
        note(sentence)
    for file in (given.per_question, given.report):
        if file is not None and not given.json:
            say(f"wrote {file}")


def _check_options(arguments: Any) -> None:
    """Raise BadInput if an option would have no effect."""
    given = vars(arguments)
    if given["mode"] is not None and given["modes"] is not None:
        raise BadInput("modes", ",".join(given["modes"]), "replaces --mode", "Leave one out")
    if given["colour"] is not None and given["report"] is None:
        raise BadInput("colour", given["colour"], "needs --report", "Give --report FILE as well")
    if given["calibrate"]:
        _check_calibration(given)
    if not given["tune"]:
        return
    if given["snapshot"] is not None:
        problem = "can't be combined with --tune, which works on the newest snapshot"
        raise BadInput("snapshot", given["snapshot"], problem, "Leave --snapshot out")
    for name in _NOT_TUNED:
        # A weight of 0 also counts as given.
        if given[name] or isinstance(given[name], float):
            flag = "--" + name.replace("_", "-")
            problem = "can't be combined with --tune, which only learns a weight"
            raise BadInput(name, None, problem, f"Leave {flag} out, and evaluate afterwards")


def _check_calibration(given: dict[str, Any]) -> None:
    if given["reader"] is None:
        raise BadInput("calibrate", None, "needs --reader", "Give --reader MODEL as well")
    for name in _NOT_CALIBRATED:
        if given[name]:
            flag = "--" + name.replace("_", "-")
            problem = "can't be combined with --calibrate, which only fits how sure answers are"
            raise BadInput(name, None, problem, f"Leave {flag} out, and evaluate afterwards")


def _calibrate(store: Any, arguments: Any) -> None:
    from pipeline.evaluation.calibrate import calibrate
    from pipeline.evaluation.report import print_calibration
    from pipeline.search.search import chosen_mode

    given, mode = arguments, chosen_mode(store, arguments.mode)
    options = EvaluateOptions(
        questions=given.questions,
        modes=(mode,),
        rank=RankOptions(
            mode=mode,
            where=given.where,
            fusion=given.fusion,
            weight=given.weight,
            diverse=given.diverse,
        ),
        reading=reading_options(given),
        seed=given.seed,
    )
    print_calibration(calibrate(store, options, READ), given.json)


def _learn_weight(store: Any, arguments: Any) -> None:
    from pipeline.evaluation.report import print_weights
    from pipeline.evaluation.tune_weight import run

    print_weights(run(store, arguments.questions), arguments.json)


def run_compare(arguments: Any) -> None:
    """Run ``albeam compare``."""
    from pipeline.evaluation.compare import run
    from pipeline.evaluation.report import print_comparison

    given = arguments
    options = CompareOptions(
        given.a, given.b, given.questions, given.k, given.metric, given.largest, given.seed
    )
    print_comparison(run(options), given.json)
