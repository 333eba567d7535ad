"""``albeam watch``: new Parquet files become searchable while it runs."""

import glob
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.runners.runner import PipelineState

from pipeline.command_line.console import counted
from pipeline.ingest.options import EmbedOptions, WatchCommandOptions
from pipeline.ingest.resolve import check_places, new_pipeline, resolve
from pipeline.maintenance import compact
from pipeline.maintenance.options import CompactOptions
from pipeline.runners.launch import run_in_background
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.snapshot import newest_snapshot
from transforms.errors import AlbeamError, BadInput, Conflict
from transforms.ingest.label_column import label_field
from transforms.ingest.options import PassageOptions
from transforms.storage import filesystem
from transforms.storage.probe import probe_exclusive
from transforms.streaming.file_intake import WatchOptions, language_of, list_new
from transforms.streaming.journal_entries import Closing, Entry
from transforms.streaming.messages import MessageOptions
from transforms.streaming.watch import WatchFiles, WatchMessages
from transforms.transactions.commits import check_identity

#: Seconds between two checks of the job, which ask nothing of the store.
_CHECK_SECONDS = 0.5


@dataclass(frozen=True)
class WatchSummary:
    """The summary of a watch that has ended.

    Attributes:
        files: number of files that were taken.
        rejected: files that could not be read: URL to reason.
        entries: number of segments that the files made.
        compactions: number of times that small segments were joined.
        freshness: the most seconds from when a file was first seen until it was searchable.
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
    options: WatchCommandOptions, notify: Callable[[str], object] | None = None
) -> WatchSummary:
    """Take new files into a store, without end or until no file has come for a while.

    Args:
        options: what to watch, and how often.
        notify: called with a line for each entry.

    Raises:
        BadInput: options, model or store can't be used as given.
        AlbeamError: the job failed.
    """
    started = time.monotonic()
    check_places(options.embed)
    _check_inputs(options.embed.inputs)
    watched, passages, embedding = resolve_watch(options.embed, options.every)
    pipeline = new_pipeline(options.embed, streaming=True)
    _ = pipeline | "WatchFiles" >> WatchFiles(watched, passages, embedding)
    observer = _Observer(watched, options.max_segments, notify)
    with run_in_background(pipeline) as job:
        _observe(job, observer, options.every, options.until_idle)
    newest = newest_snapshot(watched.store)
    done = observer.done
    return WatchSummary(
        store=watched.store,
        snapshot=newest.number if newest is not None else 0,
        files=sum(len(entry.files) - len(entry.rejected) for entry in done),
        rejected={url: why for entry in done for url, why in entry.rejected.items()},
        entries=len(done),
        compactions=observer.compactions,
        freshness=round(observer.freshness, 3),
        seconds=round(time.monotonic() - started, 3),
    )


def store_messages(options: EmbedOptions, messages: MessageOptions) -> WatchMessages:
    """Return the transform from a ``PCollection[Message]`` to a store, for a pipeline of your own.

    Args:
        options: as for ``albeam embed``. Inputs, columns and mode are ignored, and the store is
            that of ``messages``.
        messages: how messages are gathered.

    Raises:
        BadInput: options, model or store can't be used as given.
    """
    options = replace(
        options, inputs=(messages.folder,), store=messages.store, columns=messages.columns
    )
    watched, passages, embedding = resolve_watch(options, messages.every)
    return WatchMessages(messages, replace(watched, messages=True), passages, embedding)


def _check_inputs(inputs: Sequence[str]) -> None:
    """Raise BadInput if a local folder does not exist: its name may be misspelt."""
    for url in map(filesystem.absolute, inputs):
        named = filesystem.is_local(url) and not glob.has_magic(url)
        if named and not os.path.exists(filesystem.local_path(url)):
            raise BadInput("input", url, "does not exist", "Make the folder, or name another")


def resolve_watch(
    options: EmbedOptions, every: float
) -> tuple[WatchOptions, PassageOptions, beam.PTransform]:
    """Resolve the options of a watch, and check that they fit the store.

    Raises:
        BadInput: the options, the model or the store can't be used.
    """
    job = resolve(options)
    probe_exclusive(job.store)
    newest = newest_snapshot(job.store)
    if newest is not None:
        check_identity(job.store, newest.identity, job.identity)
        if job.label is not None:
            label_field(
                job.label, [info.metadata for info in OpenSnapshot(job.store, newest).infos()]
            )
    watched = WatchOptions(
        inputs=job.inputs,
        store=job.store,
        columns=job.columns,
        identity=job.identity,
        vector_dtype=options.vector_dtype,
        index=options.index,
        rate=job.rate,
        every=every,
        lexical=options.lexical,
        rows_per_part=options.rows_per_part,
        places=tuple(filesystem.absolute(url, follow=False) for url in options.inputs),
    )
    language_of(watched)
    return watched, job.passages, job.embedding()


class _Observer:
    """The view that the command has of a running watch.

    Attributes:
        done: the entries that were closed since the start.
        compactions: number of compactions.
        freshness: the most seconds that an entry took.
    """

    def __init__(
        self,
        watched: WatchOptions,
        max_segments: int,
        notify: Callable[[str], object] | None,
    ) -> None:
        self.done: list[Entry] = []
        self.compactions = 0
        self.freshness = 0.0
        self._watched, self._max_segments, self._notify = watched, max_segments, notify
        self._limit = max_segments
        state = watched.journal.read()
        self._reported = state.last_number - (state.open_entry is not None)

    def poll(self) -> bool:
        """Report closed entries, compact the store, and return whether there is or was work."""
        state = self._watched.journal.read(after=self._reported)
        entries = [each for each in state.entries if each.entry.number > self._reported]
        for each in entries:
            if each.closing is not None:
                self._report(each.entry, each.closing)
        active = bool(entries) or bool(list_new(self._watched, state))
        if state.open_entry is None:
            self._compact()
        return active

    def _report(self, entry: Entry, closing: Closing) -> None:
        self._reported = entry.number
        self.done.append(entry)
        if not closing.reason:
            self.freshness = max(self.freshness, closing.seconds)
        if self._notify is not None:
            self._notify(_line(entry, closing))

    def _compact(self) -> None:
        joined, self._limit = _compact(
            self._watched.store, self._max_segments, self._limit, self._notify
        )
        self.compactions += joined


def _observe(job: Any, observer: _Observer, every: float, until_idle: float | None) -> None:
    """Poll until the watch has been idle for ``until_idle`` seconds.

    Raises:
        AlbeamError: the job ended by itself.
    """
    idle_since: float | None = None
    while True:
        _check_running(job)
        now = time.monotonic()
        if observer.poll():
            idle_since = None
        elif idle_since is None:
            idle_since = now
        wait = every
        if until_idle is not None and idle_since is not None:
            if now - idle_since >= until_idle:
                return
            # The last poll comes when the time is up.
            wait = min(every, idle_since + until_idle - time.monotonic())
        _wait(job, wait)


def _wait(job: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _CHECK_SECONDS))
        _check_running(job)


def _check_running(job: Any) -> None:
    state = job.state
    if PipelineState.is_terminal(state):
        raise AlbeamError("job", state, "ended by itself", "Run the same command again")


def _compact(
    store: str, most: int, limit: int, notify: Callable[[str], object] | None
) -> tuple[bool, int]:
    """Compact a store that has more than ``limit`` segments.

    A compaction that fails does not end the watch: no file depends on it.

    Returns:
        Whether segments were joined, and the next limit; twice as many segments after a failure.
    """
    newest = newest_snapshot(filesystem.absolute(store))
    if newest is None or len(newest.segments) <= limit:
        return False, limit
    try:
        done = compact.run(store, CompactOptions(max_segments=max(most // 2, 1)))
    except Conflict:
        # Another writer was faster; the next poll tries again.
        return False, limit
    except AlbeamError as error:
        if notify is not None:
            notify(f"the compaction of {len(newest.segments)} segments failed: {error}")
        return False, 2 * len(newest.segments)
    return done.compacted > 0, most


def _line(entry: Entry, closing: Closing) -> str:
    taken = len(entry.files) - len(entry.rejected)
    words = [counted(taken, "file")]
    if closing.reason:
        words.append(f"given up: {closing.reason}")
    else:
        words.append(
            f"in snapshot {closing.snapshot}, {closing.seconds:.1f} s after they were seen"
        )
    words += [f"rejected {url}: {why}" for url, why in entry.rejected.items()]
    return ", ".join(words)
