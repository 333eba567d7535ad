"""The output of ``albeam search``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import counted, note, print_json, say
from pipeline.command_line.screen import columns, excerpt
from transforms.search.answering import Answered, FoundAnswer
from transforms.search.results import Hit

#: Characters that are shown before an answer, and other answers.
_BEFORE, _OTHERS = 60, 3
_INDENT = " " * 5


def print_run(summary: Any, as_json: bool) -> None:
    """Print a `RunSummary`."""
    if as_json:
        print_json(asdict(summary))
        return
    if summary.notice:
        note(summary.notice)
    say(
        f"{summary.output}: {counted(summary.rows, 'row')} for "
        f"{counted(summary.questions, 'question')} to snapshot {summary.snapshot} of "
        f"{summary.store}, in {summary.seconds:.1f} seconds"
    )


def print_answer(hits: Sequence[Hit], answers: Sequence[Any]) -> None:
    """Print the best answer, and its place in its document."""
    from transforms.search.reader import best_answer

    place = best_answer(answers)
    if place is None:
        say("answer: none found")
        return
    hit, answer = hits[place], answers[place]
    start = hit.start + answer.start
    where = f"{hit.document_id} [{start}:{start + len(answer.text)}]"
    say(f"answer: {answer.text}  ({sureness(answer)}, {where})")


def sureness(answer: Any) -> str:
    """Return how sure an answer is: its probability; without a calibration, its score."""
    if answer.probability is None:
        return f"{answer.score:.3f}"
    return f"{answer.probability:.0%}"


def print_answered(answered: Answered, reads: bool, mode: str) -> None:
    """Print the answer to a question with its source, and the other answers; else the hits.

    Args:
        answered: what was found.
        reads: whether there is a reader.
        mode: the mode of the search.
    """
    best = answered.answer
    if best is None:
        if reads:
            say(f"no answer in {counted(len(answered.hits), 'document')}; the nearest:")
        print_hits(answered.hits, mode)
        return
    print_found(best)
    others = ", ".join(f"{each.text} ({sureness(each)})" for each in answered.others[:_OTHERS])
    for line in excerpt(f"or: {others}", columns() - len(_INDENT), 1) if others else ():
        say(_INDENT + line)


def print_found(best: FoundAnswer) -> None:
    """Print an answer, and where it stands in its passage."""
    say(f"{best.text}  ({sureness(best)})")
    named = [each for each in (best.title, best.uri) if each is not None]
    say(_INDENT + "  ".join([f"{best.document_id} [{best.start}:{best.end}]", *named]))
    start, end = (place - best.passage_start for place in (best.start, best.end))
    begin = max(0, best.passage.rfind(" ", 0, max(0, start - _BEFORE)) + 1)
    marked = f"{best.passage[begin:start]}[{best.passage[start:end]}]{best.passage[end:]}"
    for line in excerpt(("… " if begin else "") + marked, columns() - len(_INDENT), 3):
        say(_INDENT + line)


def print_hits(hits: Sequence[Hit], mode: str = "dense") -> None:
    """Print hits for people: score, document, the beginning of the passage, metadata."""
    width = columns() - len(_INDENT)
    for hit in hits:
        say(f"{hit.rank:>3}. {hit.score:.3f}  {hit.document_id}  [{hit.start}:{hit.end}]")
        for line in excerpt(hit.text, width, 2):
            say(_INDENT + line)
        metadata = ", ".join(f"{name}: {value}" for name, value in hit.metadata.items())
        for line in excerpt(metadata, width, 1):
            say(_INDENT + line)
    if not hits:
        shared = "no passage shares a word with the question, " if mode == "lexical" else ""
        say(f"  no hits: {shared}the store is empty, or no document meets the condition")
