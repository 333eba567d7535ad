"""What ``albeam embed`` says when it is done."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.command_line.console import counted
from transforms.catalog.segment import SegmentInfo
from transforms.transactions.change_set import Changes


@dataclass(frozen=True)
class EmbedSummary:
    """What a run did, and what the store holds now of this input.

    Attributes:
        documents: of the input that the store holds now; ``passages`` are theirs.
        new, changed: documents that were embedded.
        metadata: documents whose metadata alone changed; their vectors were carried over.
        unchanged: documents that the store had.
        removed: live documents that the input lacks and that are gone now.
        tokens, bytes, parts: what was written for the input's changes.
        tokens_per_second: of the tokens that this run embedded; parts found done are left out.
        recall: recall@10 of the index on stored vectors; None without an index.
        recall_of_questions: the same on the questions that were given, or on made ones; None where
            search is exact.
        lexical: the language of the lexical index, or ``none``.
    """

    documents: int
    new: int
    changed: int
    metadata: int
    unchanged: int
    removed: int
    passages: int
    tokens: int
    rejects: dict[str, int]
    bytes: int
    seconds: float
    tokens_per_second: float
    parts: int
    parts_found_done: int
    model: str
    model_loads: int
    device: str
    dtype: str
    index: str
    index_reason: str
    recall: float | None
    recall_of_questions: float | None
    lexical: str
    store: str
    segment: str
    snapshot: int
    notice: str


def change_notices(changes: Changes, late: Mapping[str, int]) -> list[str]:
    """What a person should know of a comparison."""
    said = []
    gave_way = changes.counts["duplicate"]
    if gave_way:
        said.append(f"{counted(gave_way, 'input row')} gave way to others of their ids")
    lost = changes.lost + late.get("changed", 0)
    if lost:
        said.append(f"{counted(lost, 'document')} that lived, rejected now and gone")
    return said


def columns_left_out(
    changes: Changes, metadata: pa.Schema, live: Iterable[SegmentInfo]
) -> list[str]:
    """A notice of the columns that documents lose, as this input was read without them."""
    had = {name for info in live for name in info.metadata.names}
    lost = sorted(had - set(metadata.names))
    if not lost or not changes.counts["metadata"] + changes.counts["changed"]:
        return []
    return [
        f"the store's metadata {', '.join(lost)} was not read from this input and is gone from "
        "the documents that were replaced; give --metadata-columns or --all-columns to keep it"
    ]
