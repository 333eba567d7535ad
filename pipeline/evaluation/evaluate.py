"""``albeam evaluate``: measure how well a store answers questions with known answers."""

from dataclasses import asdict, replace

import pyarrow.parquet as pq

from pipeline.evaluation.options import ALL, EvaluateOptions
from transforms.errors import BadInput, check_choice
from transforms.evaluation.checks import check_evaluation
from transforms.evaluation.corpus_sample import check_colour, sample_corpus
from transforms.evaluation.hard_questions import hardest_questions, inspect_questions
from transforms.evaluation.questions import Question, load_questions
from transforms.evaluation.report_page import evaluation_page
from transforms.evaluation.results import Evaluation, measure_run, question_table
from transforms.evaluation.run_files import (
    Run,
    check_questions,
    check_trec_ids,
    read_run,
    write_trec,
)
from transforms.search.condition import as_condition
from transforms.search.options import MODES, RankOptions, check_fusion
from transforms.search.questions import STANDARD_INPUT, evenly, name_of
from transforms.search.reading import Reading
from transforms.search.reading_options import ReadingOptions
from transforms.search.results import Hit
from transforms.search.store import Store
from transforms.search.timing import Stages, percentiles, timed
from transforms.storage import filesystem
from transforms.storage.output_files import check_writable, write_text, writing

_AT_ONCE = 512
#: Number of hits that a reader reads.
_READ = 5
#: Number of questions that are timed, one at a time, and number of documents to find for each.
_TIMED, _TIMED_K = 100, 10


def evaluate(store: Store, options: EvaluateOptions) -> Evaluation:
    """Search every question in each mode, measure the rankings by document, and write the files.

    Raises:
        BadInput: the questions, a run or an option can't be used.
    """
    modes = check_modes(store, options)
    check_fusion(options.rank, modes)
    _check_outputs(store, options)
    asked = load_questions(options.questions)
    ids = [question.question_id for question in asked]
    if options.run is not None:
        check_trec_ids([*ids, *(name for question in asked for name in question.relevant)])
    if options.reading.reader is not None:
        _check_answers(asked, name_of(options.questions))
    options = replace(options, k=options.reading.shown(options.k))
    others = {name: _other_run(file, ids, options) for name, file in options.beside}
    reading = Reading(options.reading)
    found: dict[str, Run] = {}
    measured = {}
    for mode in modes:
        found[mode], answers = _search(store, asked, mode, options, reading)
        latency = _latency(store, asked, mode, options, reading)
        measured[mode] = measure_run(asked, found[mode], options.k, options.seed, latency, answers)
    for name, runs in others.items():
        measured[name] = measure_run(asked, runs, options.k, options.seed)
    checks = check_evaluation(store, asked, modes, found.values(), others, options.rank)
    evaluation = Evaluation(asked, measured, options.k, checks)
    if options.per_question is not None:
        with writing(options.per_question) as path:
            pq.write_table(question_table(evaluation), path, compression="zstd")
    if options.report is not None:
        write_text(options.report, _page(store, evaluation, modes, options))
    if options.run is not None:
        # Last, because only a search shows whether the ids that it finds have white space.
        for mode in modes:
            url = options.run if len(modes) == 1 else _named(options.run, mode)
            write_trec(url, found[mode], mode)
    return evaluation


def modes_of(store: Store) -> tuple[str, ...]:
    """Return the modes in which a store can be searched."""
    return MODES if store.mode() == "hybrid" else ("dense",)


def check_modes(store: Store, options: EvaluateOptions) -> tuple[str, ...]:
    """Return the modes of the options, each once.

    Raises:
        BadInput: there is no mode, a mode is unknown, or a run of another system has its name.
    """
    known = modes_of(store)
    if ALL in options.modes and len(options.modes) > 1:
        problem = f"has {ALL}, which names every mode, and others"
        raise BadInput("modes", ",".join(options.modes), problem, "Leave the others out")
    modes = known if options.modes == (ALL,) else tuple(dict.fromkeys(options.modes))
    for mode in modes:
        check_choice("modes", mode, MODES, f"Give some of {', '.join(known)}, or {ALL}")
        store.mode(mode)
    names = [*modes, *(name for name, _ in options.beside)]
    if len(set(names)) != len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise BadInput("beside", name, "is the name of two runs or modes", "Give another name")
    if not modes:
        raise BadInput("modes", "", "has no mode", f"Give some of {', '.join(known)}, or {ALL}")
    return modes


def _check_outputs(store: Store, options: EvaluateOptions) -> None:
    if options.report is not None:
        check_writable("report", options.report, ".html")
    check_colour(store, options.colour)
    if options.per_question is not None:
        check_writable("per_question", options.per_question, ".parquet")
    if options.run is not None:
        if options.run.endswith(".parquet"):
            problem = "ends in .parquet, but a TREC file is written"
            remedy = "Give another name, or --per-question"
            raise BadInput("run", options.run, problem, remedy)
        check_writable("run", options.run, "")


def _other_run(file: str, ids: list[str], options: EvaluateOptions) -> Run:
    run = read_run(file)
    check_questions(file, run, ids, name_of(options.questions))
    return {question_id: ranked[: options.k] for question_id, ranked in run.items()}


def _search(
    store: Store, asked: list[Question], mode: str, options: EvaluateOptions, reading: Reading
) -> tuple[Run, list[str] | None]:
    """Return what is found for each question, and the reader's answers, None without a reader."""
    runs: Run = {}
    answers = []
    how = replace(options.rank, k=reading.candidates(options.k), mode=mode)
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        texts = [question.question for question in some]
        found = store.search(texts, **asdict(how))
        for question, candidates in zip(some, found, strict=True):
            hits = reading.ranked(question.question, candidates, options.k)
            runs[question.question_id] = [(hit.document_id, hit.score) for hit in hits]
            if reading.reads:
                answers.append(_answer(question.question, hits[:_READ], reading, mode))
    return runs, answers if reading.reads else None


def _answer(question: str, hits: list[Hit], reading: Reading, mode: str) -> str:
    from transforms.search.reader import best_answer

    answers = reading.answers(question, hits, mode)
    place = best_answer(answers)
    best = None if place is None else answers[place]
    return "" if best is None else best.text


def _check_answers(asked: list[Question], url: str) -> None:
    for number, question in enumerate(asked):
        if question.answers is None:
            problem = f"has no 'answers' in row {number}, which measure a reader"
            remedy = "Give each row a list of texts, or an empty list if there is no answer"
            raise BadInput("questions", url, problem, remedy)


def _latency(
    store: Store, asked: list[Question], mode: str, options: EvaluateOptions, reading: Reading
) -> dict[str, dict[str, float]]:
    """Return the milliseconds of single searches by stage, with those of the reading models."""
    if not options.timed:
        return {}
    some = evenly([question.question for question in asked], _TIMED)
    k = min(options.k, _TIMED_K)
    how = replace(options.rank, k=reading.candidates(k), mode=mode)
    searches = []
    for question in some:
        stages = Stages()
        with stages.timed("total"):
            [hits] = store.search([question], **asdict(how), stages=stages)
            with timed(stages if reading.ranks else None, "rerank"):
                hits = reading.ranked(question, hits, k)
            with timed(stages if reading.reads else None, "read"):
                reading.answers(question, hits[:_READ], mode)
        searches.append(stages)
    return percentiles(searches)


def _page(
    store: Store, evaluation: Evaluation, modes: tuple[str, ...], options: EvaluateOptions
) -> str:
    depth = options.reading.rerank or options.k
    rank = replace(options.rank, k=depth)
    hard = inspect_questions(store, evaluation, hardest_questions(evaluation), modes, rank)
    sample = sample_corpus(store, options.colour, options.seed)
    timed = f"up to {_TIMED} questions, one at a time, {_TIMED_K} documents each"
    identity = [*_identity(store, options), *(("note", each) for each in evaluation.checks.notes)]
    return evaluation_page(evaluation, sample, hard, identity, timed)


def _identity(store: Store, options: EvaluateOptions) -> list[tuple[str, str]]:
    snapshot, model = store.snapshot, store.snapshot.identity
    kinds = sorted({s.index.factory if s.index else "none" for s in store.segments})
    words = sorted({s.lexical.language if s.lexical else "no index" for s in store.segments})
    return [
        ("store", f"{store.url}, snapshot {snapshot.number}"),
        ("documents", f"{snapshot.documents:,} in {snapshot.passages:,} passages"),
        ("index", ", ".join(kinds)),
        ("words", ", ".join(words)),
        ("hybrid", _fusion(store, options.rank)),
        *_condition(options.rank),
        ("model", model.name + (f" at {model.revision}" if model.revision else "")),
        ("weights", f"sha256 {model.weights_sha256}"),
        ("vectors", f"{model.dim} dimensions, {model.pooling} pooling"),
        ("passages", f"up to {model.max_tokens} tokens"),
        ("encoder", f"{store.encoder.dtype} on {store.encoder.device}"),
        *_readers(options.reading),
        ("questions", _file(options.questions)),
        ("seed", str(options.seed)),
    ]


def _file(questions: str) -> str:
    return name_of(questions) if questions == STANDARD_INPUT else filesystem.absolute(questions)


def _condition(rank: RankOptions) -> list[tuple[str, str]]:
    return [] if rank.where is None else [("documents where", str(as_condition(rank.where)))]


def _fusion(store: Store, rank: RankOptions) -> str:
    if rank.fusion == "rrf":
        return "reciprocal rank fusion"
    return f"{store.weight(rank.weight):g} on the cosine"


def _readers(reading: ReadingOptions) -> list[tuple[str, str]]:
    rows = []
    if reading.reranker is not None:
        rows.append(("reranker", f"{reading.reranker}, {reading.rerank} candidates"))
    if reading.reader is not None:
        rows.append(("reader", f"{reading.reader}, {_READ} hits"))
    return rows


def _named(url: str, mode: str) -> str:
    """Return ``run-dense.trec`` for ``run.trec`` and ``dense``."""
    folder, slash, name = url.rpartition("/")
    stem, dot, kind = name.rpartition(".")
    return f"{folder}{slash}{stem}-{mode}.{kind}" if dot else f"{url}-{mode}"
