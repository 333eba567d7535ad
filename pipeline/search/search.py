"""``albeam search``: find the nearest documents for questions."""

from collections.abc import Sequence
from dataclasses import asdict

from pipeline.command_line.console import note, print_json, say
from pipeline.search.report import print_answer, print_hits
from transforms.search.more_like import search_like
from transforms.search.options import RankOptions
from transforms.search.question_check import QuestionCheck, check_questions
from transforms.search.reading import Reading
from transforms.search.reading_options import ReadingOptions
from transforms.search.store import Store

_AT_ONCE = 256


def run(
    store: Store,
    questions: Sequence[str],
    options: RankOptions,
    as_json: bool,
    many: bool,
    reading: ReadingOptions | None = None,
) -> None:
    """Print the hits of each question; as JSON, one array and line per question."""
    reading = reading or ReadingOptions()
    models, check = Reading(reading), QuestionCheck()
    for start in range(0, len(questions), _AT_ONCE):
        some = questions[start : start + _AT_ONCE]
        found = models.search(store, some, options)
        if options.mode != "lexical":
            check += check_questions(some, store.encoder.tokenizer, store.snapshot.identity)
        for question, (hits, answers) in zip(some, found, strict=True):
            if as_json:
                rows = [asdict(hit) for hit in hits]
                if models.reads:
                    for row, answer in zip(rows, answers, strict=True):
                        row["answer"] = None if answer is None else asdict(answer)
                print_json(rows)
            else:
                if many:
                    say(question)
                if models.reads:
                    print_answer(hits, answers)
                print_hits(hits, options.mode)
    for sentence in check.notes():
        note(sentence)


def print_like(
    store: Store, like: Sequence[str], unlike: Sequence[str], options: RankOptions, as_json: bool
) -> None:
    """Print the documents that are like some documents; as JSON, one array."""
    [hits] = search_like(store, like, unlike, options)
    if as_json:
        print_json([asdict(hit) for hit in hits])
    else:
        print_hits(hits)


def chosen_mode(store: Store, mode: str | None) -> str:
    """Return the mode to search in; print a note if it is dense for lack of a lexical index.

    Raises:
        BadInput: the mode needs a lexical index, and the store has none.
    """
    chosen = store.mode(mode)
    if mode is None and chosen == "dense" and store.segments:
        note(
            f"{store.url} has no lexical index, so only vectors rank the documents. Build "
            f"one: albeam index {store.url} --lexical auto"
        )
    return chosen
