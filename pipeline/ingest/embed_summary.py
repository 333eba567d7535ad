"""The summary of ``albeam embed``."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.command_line.console import counted
from pipeline.ingest.resolve import ResolvedJob
from transforms.catalog.segment import SegmentInfo
from transforms.transactions.change_set import ChangeSet


@dataclass(frozen=True)
class EmbedSummary:
    """The summary of a run and of its documents in the store.

    Attributes:
        documents: documents of the input that the store now holds.
        new: embedded documents that the store did not have.
        changed: embedded documents that the store had with another text.
        metadata: documents of which only the metadata changed; their vectors were carried over.
        unchanged: documents that the store already had.
        removed: live documents that the input lacks and that were removed.
        passages: the passages of ``documents``.
        tokens: tokens of the segment that was written; 0 if none was.
        bytes: size of its parts and indexes.
        parts: number of its parts.
        rejects: reason to number of rejected rows.
        parts_found_done: parts that an earlier run of the same command had finished.
        model_loads: how often workers loaded the model.
        tokens_per_second: the speed of this run; parts of an earlier run are not counted.
        index: the FAISS factory of the index, or ``none``.
        index_reason: why this index was chosen, and how large it is.
        recall: recall@10 of the index on stored vectors; None without an index.
        recall_of_questions: recall@10 on given or generated questions; None if search is exact.
        lexical: the language of the lexical index, or ``none``.
        segment: the segment that was written; empty if none was.
        notice: what else the user should know; often empty.
        unknown_texts: embedded texts of which at least half is unknown to the model, as another
            script is.
        left_out: reason to number of names below the inputs that were left out; a folder counts
            once.
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
    unknown_texts: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        snapshot: the snapshot that holds the result.
        info: the segment that was written, if one was.
        done_before: the parts of it that an earlier run had finished.
        model_loads: how often workers loaded the model.
        late_rejects: kind of change to number of documents that were rejected while they were
            embedded, after the comparison.
        notices: sentences for the user.
        embedded: whether the run embedded anything.
        unknown_texts: how many texts that it embedded are mostly unknown to the model.
    """

    snapshot: int
    info: SegmentInfo | None = None
    done_before: Collection[int] = ()
    model_loads: int = 0
    late_rejects: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    embedded: bool = False
    unknown_texts: int = 0


def summarize(
    job: ResolvedJob, changes: ChangeSet, outcome: Outcome, seconds: float
) -> EmbedSummary:
    """Return the summary of a run that took so many seconds."""
    counts, info, late = changes.counts, outcome.info, outcome.late_rejects
    written = info.total("documents") if info is not None else 0
    tokens = info.total("tokens") if info is not None else 0
    parts = info.parts if info is not None else ()
    embedded = tokens - sum(part.tokens for part in parts if part.number in outcome.done_before)
    index = info.index if info is not None else None
    lexical = info.lexical if info is not None else None
    rejects = info.rejects if info is not None else changes.rejects
    notices = (
        job.model.notice,
        *change_notices(changes, late),
        *reject_notices(rejects, changes.rows, job.options.columns.text_column),
        *unknown_notices(outcome.unknown_texts),
        *outcome.notices,
    )
    return EmbedSummary(
        documents=written + counts["unchanged"],
        # Against an empty store all rows are new, except those that were rejected later.
        new=counts["new"] - late.get("new", 0) if changes.base else written,
        changed=counts["changed"] - late.get("changed", 0),
        metadata=counts["metadata"],
        unchanged=counts["unchanged"],
        removed=counts["removed"],
        passages=(info.rows if info is not None else 0) + changes.kept_passages,
        tokens=tokens,
        rejects=rejects,
        bytes=info.size if info is not None else 0,
        seconds=round(seconds, 3),
        tokens_per_second=round(embedded / seconds, 1) if outcome.embedded else 0.0,
        parts=len(parts),
        parts_found_done=len(outcome.done_before),
        model=job.identity.name,
        model_loads=outcome.model_loads,
        device=job.placement.device,
        dtype=job.placement.dtype,
        index=index.factory if index is not None else "none",
        index_reason=index.why if index is not None else "",
        recall=index.recall if index is not None else None,
        recall_of_questions=index.recall_of_questions if index is not None else None,
        lexical=lexical.language if lexical is not None else "none",
        store=job.store,
        segment=info.name if info is not None else "",
        snapshot=outcome.snapshot,
        notice=" ".join(filter(None, notices)),
        unknown_texts=outcome.unknown_texts,
    )


def change_notices(changes: ChangeSet, late_rejects: Mapping[str, int]) -> list[str]:
    """Return what the user should know about a comparison."""
    notices = []
    ignored = changes.counts["duplicate"]
    if ignored:
        verb = "was" if ignored == 1 else "were"
        notices.append(
            f"{counted(ignored, 'input row')} {verb} ignored in favour of others with the same id."
        )
    lost = changes.lost + late_rejects.get("changed", 0)
    if lost:
        verb = "was" if lost == 1 else "were"
        notices.append(
            f"{counted(lost, 'live document')} {verb} rejected in this input and removed."
        )
    return notices


def reject_notices(rejects: Mapping[str, int], rows: int, text_column: str) -> list[str]:
    """Return what the user should know about an input of which nothing can be embedded."""
    if not rows or sum(rejects.values()) < rows:
        return []
    return [
        f"None of {counted(rows, 'input row')} can be embedded. Check that --text-column "
        f"{text_column} names the texts."
    ]


def unknown_notices(texts: int) -> list[str]:
    """Return what the user should know about texts that are mostly unknown to the model."""
    if not texts:
        return []
    verb = "is" if texts == 1 else "are"
    return [
        f"{counted(texts, 'text')} {verb} mostly unknown to the model, as another script is. "
        "Their vectors say little; modes hybrid and lexical still find their words."
    ]


def lost_columns(
    changes: ChangeSet, metadata: pa.Schema, live: Iterable[SegmentInfo]
) -> tuple[str, ...]:
    """Return a notice about metadata columns that replaced documents lose, if there are any."""
    before = {name for info in live for name in info.metadata.names}
    lost = sorted(before - set(metadata.names))
    if not lost or not changes.counts["metadata"] + changes.counts["changed"]:
        return ()
    return (
        f"The metadata {', '.join(lost)} of the store was not read from this input, so the "
        "replaced documents have lost it. To keep it, give --metadata-columns or --all-columns, or "
        "--classify if a head gave it.",
    )
