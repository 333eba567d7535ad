"""Files that appear under a folder become segments of a store, for as long as a job runs.

Each poll lists the folder. New files that no longer change become an entry of the `Journal`. Their
rows pass the same steps as those of a batch: read, split, embed, write. After the last part, the
segment is indexed and committed. A step may run twice: it then finds its files in the store.
"""

import functools
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import VarIntCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.utils.timestamp import Timestamp

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import PartFormat
from transforms.errors import BadInput
from transforms.ingest.options import PassageOptions
from transforms.ingest.part_tables import chunk_of, mark_chunks
from transforms.ingest.passages import SplitPassages
from transforms.ingest.read_parts import read_chunks
from transforms.ingest.write_parts import WritePartsFn
from transforms.models.resolve import options_for
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import (
    arrow_coder,  # noqa: F401
    filesystem,
)
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import METRICS
from transforms.streaming.file_intake import (
    FILES_PER_ENTRY,
    WatchOptions,
    check_plan_of,
    commit_entry,
    list_new,
    plan_entry,
    remove_taken,
)
from transforms.streaming.journal_entries import Entry
from transforms.streaming.messages import LandMessages, Message, MessageOptions

#: The parts of an entry that makes no progress for so long are sent again.
_PATIENCE_SECONDS = 300.0
_CLAIM_SECONDS = 60.0
_NO_PART = -1


class _PollState:
    """The memory of all polls of one job in this process; Beam may use several `_PollFn`."""

    def __init__(self) -> None:
        self.before: set[FileInfo] = set()
        self.seen: dict[FileInfo, float] = {}
        self.sent = self.done = 0
        self.moved = self.claimed = 0.0


@functools.cache
def _poll_state(job: int) -> _PollState:  # noqa: ARG001
    return _PollState()


class _PollFn(CheckedFn):
    """A function from polls to the unfinished parts, ``(segment, part)``, or ``_NO_PART``."""

    def __init__(self, options: WatchOptions) -> None:
        super().__init__()
        self._options = options
        self._job = time.time_ns()

    def setup(self) -> None:
        super().setup()
        # The runner may have restarted and lost the parts that were sent.
        _poll_state(self._job).sent = 0
        if self._options.messages:
            remove_taken(self._options)

    def process(self, element: object) -> Iterator[tuple[str, int]]:  # noqa: ARG002
        options, polls = self._options, _poll_state(self._job)
        state = options.journal.read()
        new = list_new(options, state)
        now = time.time()
        polls.seen = {file: polls.seen.get(file, now) for file in new}
        complete = [file for file in new if options.messages or file in polls.before]
        stable = complete[:FILES_PER_ENTRY]
        polls.before = set(new)
        oldest = min(polls.seen.values(), default=now)
        if state.open_entry is not None:
            oldest = min(oldest, state.open_entry.seen)
            yield from self._resume(state.open_entry, polls)
        elif stable:
            seen = min(polls.seen[file] for file in stable)
            entry = plan_entry(options, state, stable, seen)
            if options.journal.add(entry):
                Metrics.counter(METRICS, "files").inc(len(stable) - len(entry.rejected))
                Metrics.counter(METRICS, "files_rejected").inc(len(entry.rejected))
                yield from self._resume(entry, polls)
        Metrics.gauge(METRICS, "files_waiting").set(len(new))
        Metrics.gauge(METRICS, "lag_seconds").set(int(now - oldest))

    def _resume(self, entry: Entry, polls: _PollState) -> Iterator[tuple[str, int]]:
        """Send the parts of an entry that are not done, unless they were sent and make progress."""
        journal = self._options.journal
        if len(entry.rejected) == len(entry.files):
            journal.close(entry, reason="no file could be read")
            return
        paths = journal.paths(entry)
        done = paths.finished_parts()
        Metrics.gauge(METRICS, "parts_waiting").set(entry.parts - len(done))
        if len(done) == entry.parts:
            yield entry.segment, _NO_PART
            return
        if polls.sent != entry.number and not filesystem.exists(paths.plan):
            # The watch was down for so long that a vacuum removed the plan.
            journal.close(entry, reason="its plan is gone; its files are taken again")
            return
        if polls.sent != entry.number:
            plan = check_plan_of(entry, paths)
            if plan is not None and plan.columns.label != self._options.columns.label:
                journal.close(entry, reason="its head is another; its files are taken again")
                return
        now = time.time()
        if now - polls.claimed > _CLAIM_SECONDS:
            # The claim keeps the segment from a vacuum.
            polls.claimed = now
            paths.claim()
        if (polls.sent, polls.done) != (entry.number, len(done)):
            polls.moved = now
        # A killed worker has lost its parts; sending a part twice does no harm.
        if polls.sent != entry.number or now - polls.moved > _PATIENCE_SECONDS:
            polls.moved = now
            for part in sorted(set(range(entry.parts)) - done):
                yield entry.segment, part
        polls.sent, polls.done = entry.number, len(done)


class _FinishedFn(CheckedFn):
    """A function that yields the segments that have no part left to do."""

    def process(self, element: tuple[str, int]) -> Iterator[str]:
        segment, part = element
        if part == _NO_PART:
            yield segment


class _ReadFn(CheckedFn):
    """A function from ``(segment, part)`` to the part's tables, unless the part is done."""

    def __init__(self, options: WatchOptions) -> None:
        super().__init__()
        self._options = options

    def process(self, element: tuple[str, int]) -> Iterator[pa.Table]:
        segment, part = element
        journal = self._options.journal
        entry = None if part == _NO_PART else journal.read().open_entry
        if entry is None or entry.segment != segment:
            return
        paths = journal.paths(entry)
        plan = paths.read_plan()
        if plan is None or paths.read_marker(part) is not None:
            return
        try:
            yield from mark_chunks(part, read_chunks(plan, plan.parts[part]), segment)
        except BadInput as error:
            # A file was removed or changed while it was read; its next version is a new file.
            journal.close(entry, reason=str(error))
            Metrics.counter(METRICS, "files_rejected").inc(len(entry.files))


class _WriteFn(WritePartsFn):
    """A function from tables with vectors to files; yields the segment of each finished part."""

    def __init__(self, options: WatchOptions) -> None:
        super().__init__(SegmentPaths(options.store, ""), _format(options, pa.schema([])))
        self._options = options

    def process(self, element: pa.Table) -> Iterator[Any]:
        chunk = chunk_of(element)
        if chunk.number == 0:
            # Drops the part before if it ended in its middle, because its entry was given up.
            self.start_bundle()
            self._paths = SegmentPaths(self._options.store, chunk.segment)
            plan = self._paths.read_plan()
            assert plan is not None
            self._form = _format(self._options, plan.schema)
        for _ in super().process(element):
            yield chunk.segment

    def finish_bundle(self) -> None:
        self.start_bundle()


def _format(options: WatchOptions, metadata: pa.Schema) -> PartFormat:
    return PartFormat(options.identity, options.vector_dtype, metadata)


class _KeyFn(CheckedFn):
    """A function from segments to pairs with the one key of all commits."""

    def process(self, element: str) -> Iterator[tuple[str, str]]:
        yield "store", element


#: A runner processes the elements of a key one after another if the step has state.
_LAST = beam.DoFn.StateParam(ReadModifyWriteStateSpec("last", VarIntCoder()))


class _CommitFn(CheckedFn):
    """A function from segments that have a new part to the snapshots after their last parts."""

    def __init__(self, options: WatchOptions) -> None:
        super().__init__()
        self._options = options

    def process(self, element: tuple[str, str], last: Any = _LAST) -> Iterator[int]:
        _, segment = element
        journal = self._options.journal
        state = journal.read()
        entry = state.open_entry
        if entry is None or entry.segment != segment:
            return
        if len(journal.paths(entry).finished_parts()) < entry.parts:
            return
        number = commit_entry(self._options, state, entry)
        closing = journal.close(entry, number)
        if self._options.messages:
            remove_taken(self._options)
        Metrics.counter(METRICS, "entries").inc()
        Metrics.distribution(METRICS, "freshness_seconds").update(int(closing.seconds))
        last.write(number)
        yield number


class WatchFiles(beam.PTransform):
    """An unbounded source of the numbers of the snapshots that new files bring.

    ``embedding`` takes tables of passages, and adds vectors and what else is stored with them.
    """

    def __init__(
        self, options: WatchOptions, passages: PassageOptions, embedding: beam.PTransform
    ) -> None:
        super().__init__()
        self._options, self._passages, self._embedding = options, passages, embedding

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[int]:
        """Wire polls, the steps of a batch, and commits."""
        options = self._options
        pinned = options_for(options.identity)
        parts = (
            pbegin
            | "Ticks" >> PeriodicImpulse(Timestamp.now(), fire_interval=options.every)
            | "Poll" >> beam.ParDo(_PollFn(options)).with_output_types(tuple[str, int])
        )
        finished = parts | "Finished" >> beam.ParDo(_FinishedFn()).with_output_types(str)
        written = (
            parts
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadFn(options)).with_output_types(pa.Table)
            | "SplitPassages" >> SplitPassages(pinned, self._passages)
            | "EmbedPassages" >> self._embedding
            | "Write" >> beam.ParDo(_WriteFn(options)).with_output_types(str)
        )
        return (
            (written, finished)
            | "Done" >> beam.Flatten()
            | "OneKey" >> beam.ParDo(_KeyFn()).with_output_types(tuple[str, str])
            | "Commit" >> beam.ParDo(_CommitFn(options)).with_output_types(int)
        )


class WatchMessages(beam.PTransform):
    """Transform from a ``PCollection[Message]`` to the numbers of the new snapshots."""

    def __init__(
        self,
        messages: MessageOptions,
        options: WatchOptions,
        passages: PassageOptions,
        embedding: beam.PTransform,
    ) -> None:
        super().__init__()
        self._land = LandMessages(messages)
        self._watch = WatchFiles(options, passages, embedding)

    def expand(self, messages: beam.PCollection[Message]) -> beam.PCollection[int]:
        """Wire messages to files, and files to the store."""
        _ = messages | "LandMessages" >> self._land
        return messages.pipeline | "WatchFiles" >> self._watch
