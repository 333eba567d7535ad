"""``albeam search``: questions in, the nearest documents out."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from pipeline.command_line.console import print_json
from pipeline.search.report import print_answer, print_hits
from pipeline.search.rerank import Reading, ReadingOptions
from transforms.search.options import RankOptions
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
    """Print the hits of each question; with JSON one array, a line for each question."""
    reading = reading or ReadingOptions()
    models, k = Reading(reading), reading.shown(options.k)
    wanted = replace(options, k=models.candidates(options.k))
    for start in range(0, len(questions), _AT_ONCE):
        some = questions[start : start + _AT_ONCE]
        found = store.search_as(some, wanted)
        for question, candidates in zip(some, found, strict=True):
            hits = models.ranked(question, candidates, k)
            answers = models.answers(question, hits)
            if as_json:
                rows = [asdict(hit) for hit in hits]
                if models.reads:
                    for row, answer in zip(rows, answers, strict=True):
                        row["answer"] = None if answer is None else asdict(answer)
                print_json(rows)
            else:
                if many:
                    print(question)
                if models.reads:
                    print_answer(hits, answers)
                print_hits(hits, options.mode)


def chosen_mode(store: Store, mode: str | None) -> str:
    """The mode that is meant; that it is dense for want of a lexical index is said on stderr.

    Raises:
        BadInput: the store has no lexical index, and the mode needs one.
    """
    chosen = store.mode(mode)
    if mode is None and chosen == "dense" and store.segments:
        print(
            f"note: {store.url} has no lexical index, so that vectors alone rank; give it one: "
            f"albeam index {store.url} --lexical auto",
            file=sys.stderr,
        )
    return chosen
