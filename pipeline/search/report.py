"""The output of ``albeam search``."""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import counted, print_json
from transforms.search.results import Hit


def print_run(summary: Any, as_json: bool) -> None:
    """Print a `RunSummary`."""
    if as_json:
        print_json(asdict(summary))
        return
    print(
        f"{summary.output}: {counted(summary.rows, 'row')} for "
        f"{counted(summary.questions, 'question')} to snapshot {summary.snapshot} of "
        f"{summary.store}, in {summary.seconds:.1f} seconds"
    )


def print_answer(hits: Sequence[Hit], answers: Sequence[Any]) -> None:
    """Print the best answer, and its place in its document."""
    from transforms.search.cross_encoders import best_answer

    place = best_answer(answers)
    if place is None:
        print("answer: none found")
        return
    hit, answer = hits[place], answers[place]
    start = hit.start + answer.start
    where = f"{hit.document_id} [{start}:{start + len(answer.text)}]"
    print(f"answer: {answer.text}  ({answer.score:.3f}, {where})")


def print_hits(hits: Sequence[Hit], mode: str = "dense") -> None:
    """Print hits for people: score, document, the beginning of the passage, metadata."""
    width = min(shutil.get_terminal_size().columns, 100) - 4
    for hit in hits:
        print(f"{hit.rank:>3}. {hit.score:.3f}  {hit.document_id}  [{hit.start}:{hit.end}]")
        short = textwrap.shorten(hit.text, 2 * width, placeholder=" …")
        print(textwrap.indent(textwrap.fill(short, width), "     "))
        metadata = ", ".join(f"{name}: {value}" for name, value in hit.metadata.items())
        if metadata:
            print("     " + textwrap.shorten(metadata, width, placeholder=" …"))
    if not hits:
        shared = "no passage shares a word with the question, " if mode == "lexical" else ""
        print(f"  no hits: {shared}the store is empty, or no document meets the condition")
