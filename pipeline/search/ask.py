"""``albeam ask``: answer questions by spans of passages, with their sources."""

from collections.abc import Sequence
from dataclasses import asdict

from pipeline.command_line.console import note, print_json, say
from pipeline.search.report import print_answered
from transforms.search.answering import ask
from transforms.search.options import RankOptions
from transforms.search.question_check import QuestionCheck, check_questions
from transforms.search.reading import Reading
from transforms.search.reading_options import EVEN, ReadingOptions
from transforms.search.store import Store

_AT_ONCE = 64


def run(
    store: Store,
    questions: Sequence[str],
    options: RankOptions,
    reading: ReadingOptions,
    threshold: float | None,
    notes: Sequence[str],
    as_json: bool,
    many: bool,
) -> None:
    """Print the answer to each question, and its source; as JSON, an object and line for each.

    Args:
        store: the store.
        questions: the questions.
        options: how to search.
        reading: the models that read.
        threshold: the least probability of an answer; None leaves it to ``reading.no_answer``.
        notes: what the user should know besides.
        as_json: whether to print JSON.
        many: whether to print each question before its answer.

    Raises:
        BadInput: a model or an option can't be used.
    """
    models, check = Reading(reading), QuestionCheck()
    if threshold is None:
        # A reader that was not calibrated has its own rule alone.
        sure = models.calibrated(options.mode)
        threshold = EVEN if reading.no_answer and sure else 0.0
    for start in range(0, len(questions), _AT_ONCE):
        some = questions[start : start + _AT_ONCE]
        if options.mode != "lexical":
            check += check_questions(some, store.encoder.tokenizer, store.snapshot.identity)
        for answered in ask(store, some, options, models, threshold):
            if as_json:
                print_json(asdict(answered))
                continue
            if many:
                say(answered.question)
            print_answered(answered, models.reads, options.mode)
    for sentence in (*notes, *check.notes()):
        note(sentence)
