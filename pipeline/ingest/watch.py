"""``albeam watch``: new Parquet files become searchable while it runs."""

import glob
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apache_beam.runners.runner import PipelineState

from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import compact
from pipeline.runners.launch import (
    check_reachable,
    make_pipeline,
    pipeline_options,
    run_in_background,
)
from transforms.catalog.snapshot import newest_snapshot
from transforms.encoder.placement import expected_rate, resolve_placement
from transforms.errors import AlbeamError, BadInput, Conflict
from transforms.index.vector.selection import check_index_options
from transforms.ingest.embed_passages import AlbertEmbeddingHandler
from transforms.ingest.options import PassageOptions
from transforms.ingest.passages import check_passage_options
from transforms.models.resolve import find_model, options_for
from transforms.models.tokenizer import load_tokenizer
from transforms.storage import filesystem
from transforms.streaming.file_intake import WatchOptions, language_of, list_new
from transforms.streaming.journal import Entry
from transforms.streaming.messages import MessageOptions
from transforms.streaming.watch import WatchFiles, WatchMessages
from transforms.transactions.commits import check_identity

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class WatchSummary:
    """What a watch did until it ended.

    Attributes:
        files: that were taken.
        rejected: of those, which could not be read: URL to reason.
        entries: how many segments they made.
        compactions: how often small segments were joined.
        freshness: seconds from when a file was first seen until it was searchable, at worst.
    """

    store: str
    snapshot: int
    files: int
    rejected: dict[str, str]
    entries: int
    compactions: int
    freshness: float
    seconds: float


def run(
    options: EmbedOptions,
    every: float,
    until_idle: float | None = None,
    max_segments: int = 8,
    tell: Callable[[str], object] | None = None,
) -> WatchSummary:
    """Take new files into a store until nothing has come for a while, or for ever.

    Args:
        options: as for ``albeam embed``; the mode is always append, and of ids that occur twice the
            last counts.
        every: seconds between two looks.
        until_idle: seconds without anything new after which it ends.
        max_segments: live segments above which they are compacted to half as many.
        tell: given a line for each entry.

    Raises:
        BadInput: options, model or store can't be used as given.
        AlbeamError: the job failed.
    """
    started = time.monotonic()
    if options.runner == "direct":
        raise BadInput("the direct runner ends with its input; give --runner prism or flink")
    check_reachable(options.runner, options.store, *options.inputs)
    _check_there(options.inputs)
    watched, passages, handler = _prepare(options, every)
    beam_options = pipeline_options(options.runner, options.beam_args, streaming=True)
    pipeline = make_pipeline(options.runner, beam_options)
    _ = pipeline | "WatchFiles" >> WatchFiles(watched, passages, handler)
    ledger = watched.ledger
    known = {entry.number for entry in ledger.entries() if ledger.closing(entry.number) is not None}
    done: list[Entry] = []
    compactions, limit, freshness = 0, max_segments, 0.0
    with run_in_background(pipeline) as job:
        quiet_since = time.monotonic()
        while True:
            _check_runs(job)
            entries = ledger.entries()
            for entry in entries:
                closing = ledger.closing(entry.number)
                if entry.number in known or closing is None:
                    continue
                known.add(entry.number)
                done.append(entry)
                freshness = max(freshness, closing.seconds if not closing.reason else 0.0)
                if tell is not None:
                    tell(_line(entry, closing.snapshot, closing.reason, closing.seconds))
            working = any(entry.number not in known for entry in entries)
            if working or list_new(watched, ledger.taken()):
                quiet_since = time.monotonic()
            else:
                joined, limit = _compact(options.store, max_segments, limit, tell)
                compactions += joined
            if until_idle is not None and time.monotonic() - quiet_since >= until_idle:
                break
            time.sleep(_POLL_SECONDS)
    newest = newest_snapshot(watched.store)
    return WatchSummary(
        store=watched.store,
        snapshot=newest.number if newest is not None else 0,
        files=sum(len(entry.files) - len(entry.rejected) for entry in done),
        rejected={url: why for entry in done for url, why in entry.rejected.items()},
        entries=len(done),
        compactions=compactions,
        freshness=round(freshness, 3),
        seconds=round(time.monotonic() - started, 3),
    )


def store_messages(options: EmbedOptions, messages: MessageOptions) -> WatchMessages:
    """What brings a ``PCollection[Message]`` into a store, in a pipeline of one's own.

    Args:
        options: as for ``albeam embed``; its inputs, columns and mode don't count, and the store is
            that of the messages.
        messages: how they are gathered.

    Raises:
        BadInput: options, model or store can't be used as given.
    """
    options = replace(
        options, inputs=(messages.folder,), store=messages.store, columns=messages.columns
    )
    watched, passages, handler = _prepare(options, messages.every)
    return WatchMessages(messages, replace(watched, messages=True), passages, handler)


def _check_there(inputs: Sequence[str]) -> None:
    """Raise BadInput for a local folder that is not there: it may be misspelt."""
    for url in map(filesystem.absolute, inputs):
        named = filesystem.is_local(url) and not glob.has_magic(url)
        if named and not os.path.exists(filesystem.local_path(url)):
            raise BadInput(f"input {url!r} is not there; make the folder, or name another")


def _prepare(options: EmbedOptions, every: float) -> tuple[WatchOptions, PassageOptions, Any]:
    if every <= 0:
        raise BadInput(f"every is {every}; give a time such as 30s")
    store = filesystem.absolute(options.store)
    filesystem.probe_exclusive(store)
    model = find_model(options.model)
    placement = resolve_placement(options.placement, model)
    identity = model.identity
    passages = PassageOptions(identity.max_tokens, options.stride, identity.passage_prompt)
    check_passage_options(passages, load_tokenizer(model))
    check_index_options(options.index, identity.dim)
    newest = newest_snapshot(store)
    if newest is not None:
        check_identity(store, newest.identity, identity)
    watched = WatchOptions(
        inputs=tuple(filesystem.absolute(url) for url in options.inputs),
        store=store,
        columns=options.columns,
        identity=identity,
        vector_dtype=options.vector_dtype,
        index=options.index,
        rate=expected_rate(model, placement),
        every=every,
        lexical=options.lexical,
        rows_per_part=options.rows_per_part,
    )
    language_of(watched)
    handler = AlbertEmbeddingHandler(
        options_for(identity), placement.device, placement.dtype
    ).for_tables()
    return watched, passages, handler


def _check_runs(job: Any) -> None:
    if PipelineState.is_terminal(job.state):
        raise AlbeamError(f"the job ended by itself: {job.state}; run the same command again")


def _compact(
    store: str, most: int, limit: int, tell: Callable[[str], object] | None
) -> tuple[bool, int]:
    """Join small segments if there are more than ``limit``; whether that was done, and the next.

    One that fails costs no file its place in the store, so the watch goes on, and tries again when
    there are twice as many.
    """
    newest = newest_snapshot(filesystem.absolute(store))
    if newest is None or len(newest.segments) <= limit:
        return False, limit
    try:
        compact.run(store, max(most // 2, 1))
    except Conflict:
        # Another writer was faster; there is another time.
        return False, limit
    except AlbeamError as error:
        if tell is not None:
            tell(f"{len(newest.segments)} segments are left as they are: {error}")
        return False, 2 * len(newest.segments)
    return True, most


def _line(entry: Entry, snapshot: int, reason: str, seconds: float) -> str:
    taken = len(entry.files) - len(entry.rejected)
    words = [f"{taken} file{'s' if taken != 1 else ''}"]
    words += [f"in snapshot {snapshot}, {seconds:.1f} s after they were seen"] if not reason else []
    words += [f"given up: {reason}"] if reason else []
    words += [f"rejected {url}: {why}" for url, why in entry.rejected.items()]
    return ", ".join(words)
