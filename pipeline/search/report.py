"""The output of ``albeam search``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import counted, note, print_json, say
from pipeline.command_line.screen import columns, excerpt
from transforms.search.results import Hit


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
    say(f"answer: {answer.text}  ({answer.score:.3f}, {where})")


def print_hits(hits: Sequence[Hit], mode: str = "dense") -> None:
    """Print hits for people: score, document, the beginning of the passage, metadata."""
    indent = " " * 5
    width = columns() - len(indent)
    for hit in hits:
        say(f"{hit.rank:>3}. {hit.score:.3f}  {hit.document_id}  [{hit.start}:{hit.end}]")
        for line in excerpt(hit.text, width, 2):
            say(indent + line)
        metadata = ", ".join(f"{name}: {value}" for name, value in hit.metadata.items())
        for line in excerpt(metadata, width, 1):
            say(indent + line)
    if not hits:
        shared = "no passage shares a word with the question, " if mode == "lexical" else ""
        say(f"  no hits: {shared}the store is empty, or no document meets the condition")
