"""Files that appear under a folder become segments of a store, for as long as a job runs.

Ticks make a look at the folder; what is new and whole becomes an entry of the `Ledger`, and its
parts go the road of a batch: read, split, embed, write. When the last part is done, the entry's
segment is indexed and committed. Everything that may happen twice may: the files in the store
decide.
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
from transforms.ingest.chunks import chunk_of
from transforms.ingest.embed_passages import AlbertTableHandler, EmbedPassages
from transforms.ingest.options import PassageOptions
from transforms.ingest.passages import SplitPassages
from transforms.ingest.read_parts import mark_chunks, read_chunks
from transforms.ingest.write_parts import WritePartsFn
from transforms.models.resolve import options_for
from transforms.runtime.version import check_version, installed_version
from transforms.storage import (
    arrow_coder,  # noqa: F401
    filesystem,
)
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import METRICS
from transforms.streaming.file_intake import (
    FILES_PER_ENTRY,
    WatchOptions,
    commit_entry,
    list_new,
    plan_entry,
    remove_taken,
)
from transforms.streaming.journal import Entry
from transforms.streaming.messages import LandMessages, Message, MessageOptions

#: So long an entry may make no progress before its parts are sent again.
_PATIENCE_SECONDS = 300.0
_CLAIM_SECONDS = 60.0
_NO_PART = -1


class _Looks:
    """What the looks of one job in this process remember; Beam may use a `_LookFn` for each."""

    def __init__(self) -> None:
        self.before: set[FileInfo] = set()
        self.seen: dict[FileInfo, float] = {}
        self.sent = self.done = 0
        self.moved = self.claimed = 0.0


@functools.cache
def _looks(job: int) -> _Looks:  # noqa: ARG001
    return _Looks()


class _LookFn(beam.DoFn):
    """Ticks to the parts that are to be done, ``(segment, part)``; ``_NO_PART`` where all are."""

    def __init__(self, options: WatchOptions) -> None:
        self._options = options
        self._version = installed_version()
        self._job = time.time_ns()

    def setup(self) -> None:
        check_version(self._version)
        # The runner may have begun anew, and lost what was under way.
        _looks(self._job).sent = 0
        if self._options.messages:
            remove_taken(self._options)

    def process(self, element: object) -> Iterator[tuple[str, int]]:  # noqa: ARG002
        options, ledger, looks = self._options, self._options.ledger, _looks(self._job)
        entries = ledger.entries()
        new = list_new(options, ledger.taken())
        now = time.time()
        looks.seen = {file: looks.seen.get(file, now) for file in new}
        whole = [file for file in new if options.messages or file in looks.before]
        stable = whole[:FILES_PER_ENTRY]
        looks.before = set(new)
        oldest = min(looks.seen.values(), default=now)
        last = entries[-1] if entries else None
        if last is not None and ledger.closing(last.number) is None:
            oldest = min(oldest, last.seen)
            yield from self._go_on(last, looks)
        elif stable:
            number = last.number + 1 if last is not None else 1
            seen = min(looks.seen[file] for file in stable)
            entry = plan_entry(options, stable, number, seen)
            if ledger.add(entry):
                Metrics.counter(METRICS, "files").inc(len(stable) - len(entry.rejected))
                Metrics.counter(METRICS, "files_rejected").inc(len(entry.rejected))
                yield from self._go_on(entry, looks)
        Metrics.gauge(METRICS, "files_waiting").set(len(new))
        Metrics.gauge(METRICS, "lag_seconds").set(int(now - oldest))

    def _go_on(self, entry: Entry, looks: _Looks) -> Iterator[tuple[str, int]]:
        """Send what is not done of an entry, unless it was sent and moves on."""
        ledger = self._options.ledger
        if len(entry.rejected) == len(entry.files):
            ledger.close(entry, reason="no file could be read")
            return
        paths = ledger.paths(entry)
        done = paths.finished_parts()
        Metrics.gauge(METRICS, "parts_waiting").set(entry.parts - len(done))
        if len(done) == entry.parts:
            yield entry.segment, _NO_PART
            return
        if looks.sent != entry.number and not filesystem.exists(paths.plan):
            # The watch was down for so long that a vacuum took it.
            ledger.close(entry, reason="its plan is gone; its files are taken again")
            return
        now = time.time()
        if now - looks.claimed > _CLAIM_SECONDS:
            # A vacuum sees that there is work.
            looks.claimed = now
            paths.claim()
        if (looks.sent, looks.done) != (entry.number, len(done)):
            looks.moved = now
        # What a killed worker had is lost; sending it twice does no harm.
        if looks.sent != entry.number or now - looks.moved > _PATIENCE_SECONDS:
            looks.moved = now
            for part in sorted(set(range(entry.parts)) - done):
                yield entry.segment, part
        looks.sent, looks.done = entry.number, len(done)


class _FinishedFn(beam.DoFn):
    """The segments of which no part is left to be done."""

    def process(self, element: tuple[str, int]) -> Iterator[str]:
        segment, part = element
        if part == _NO_PART:
            yield segment


class _ReadFn(beam.DoFn):
    """``(segment, part)`` to the part's tables, unless it is done."""

    def __init__(self, options: WatchOptions) -> None:
        self._options = options

    def process(self, element: tuple[str, int]) -> Iterator[pa.Table]:
        segment, part = element
        ledger = self._options.ledger
        entry = ledger.open_entry()
        if part == _NO_PART or entry is None or entry.segment != segment:
            return
        paths = ledger.paths(entry)
        plan = paths.read_plan()
        if plan is None or paths.read_marker(part) is not None:
            return
        try:
            yield from mark_chunks(part, read_chunks(plan, plan.parts[part]), segment)
        except BadInput as error:
            # A file went away or was changed under our hands; what replaced it is a new file.
            ledger.close(entry, reason=str(error))
            Metrics.counter(METRICS, "files_rejected").inc(len(entry.files))


class _WriteFn(WritePartsFn):
    """Tables with vectors to files; gives the segment of each part that is done."""

    def __init__(self, options: WatchOptions) -> None:
        super().__init__(SegmentPaths(options.store, ""), _format(options, pa.schema([])))
        self._options = options

    def process(self, element: pa.Table) -> Iterator[Any]:
        chunk = chunk_of(element)
        if chunk.number == 0:
            # The part before was given up in its middle, with its entry.
            self._give_up()
            self._paths = SegmentPaths(self._options.store, chunk.segment)
            plan = self._paths.read_plan()
            assert plan is not None
            self._form = _format(self._options, plan.schema)
        for _ in super().process(element):
            yield chunk.segment

    def finish_bundle(self) -> None:
        self._give_up()


def _format(options: WatchOptions, metadata: pa.Schema) -> PartFormat:
    return PartFormat(options.identity, options.vector_dtype, metadata)


class _KeyFn(beam.DoFn):
    """Segments under the one key of all commits."""

    def process(self, element: str) -> Iterator[tuple[str, str]]:
        yield "store", element


#: State makes a runner send the elements of a key, and so the commits, one after another.
_LAST = beam.DoFn.StateParam(ReadModifyWriteStateSpec("last", VarIntCoder()))


class _CommitFn(beam.DoFn):
    """A segment of which a part is done, to the snapshot that its last part brings."""

    def __init__(self, options: WatchOptions) -> None:
        self._options = options

    def process(self, element: tuple[str, str], last: Any = _LAST) -> Iterator[int]:
        _, segment = element
        ledger = self._options.ledger
        entry = ledger.open_entry()
        if entry is None or entry.segment != segment:
            return
        if len(ledger.paths(entry).finished_parts()) < entry.parts:
            return
        number = commit_entry(self._options, entry)
        closing = ledger.close(entry, number)
        if self._options.messages:
            remove_taken(self._options)
        Metrics.counter(METRICS, "entries").inc()
        Metrics.distribution(METRICS, "freshness_seconds").update(int(closing.seconds))
        last.write(number)
        yield number


class WatchFiles(beam.PTransform):
    """A pipeline's begin to the numbers of the snapshots that new files bring, without end."""

    def __init__(
        self, options: WatchOptions, passages: PassageOptions, handler: AlbertTableHandler
    ) -> None:
        super().__init__()
        self._options, self._passages, self._handler = options, passages, handler

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[int]:
        """Wire looks, the road of a batch, and commits."""
        options = self._options
        pinned = options_for(options.identity)
        looks = (
            pbegin
            | "Ticks" >> PeriodicImpulse(Timestamp.now(), fire_interval=options.every)
            | "Look" >> beam.ParDo(_LookFn(options)).with_output_types(tuple[str, int])
        )
        finished = looks | "Finished" >> beam.ParDo(_FinishedFn()).with_output_types(str)
        written = (
            looks
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadFn(options)).with_output_types(pa.Table)
            | "SplitPassages" >> SplitPassages(pinned, self._passages)
            | "EmbedPassages" >> EmbedPassages(self._handler)
            | "Write" >> beam.ParDo(_WriteFn(options)).with_output_types(str)
        )
        return (
            (written, finished)
            | "Done" >> beam.Flatten()
            | "OneKey" >> beam.ParDo(_KeyFn()).with_output_types(tuple[str, str])
            | "Commit" >> beam.ParDo(_CommitFn(options)).with_output_types(int)
        )


class WatchMessages(beam.PTransform):
    """A ``PCollection[Message]`` to the numbers of the snapshots that messages bring."""

    def __init__(
        self,
        messages: MessageOptions,
        options: WatchOptions,
        passages: PassageOptions,
        handler: AlbertTableHandler,
    ) -> None:
        super().__init__()
        self._land = LandMessages(messages)
        self._watch = WatchFiles(options, passages, handler)

    def expand(self, messages: beam.PCollection[Message]) -> beam.PCollection[int]:
        """Wire messages to files, and files to the store."""
        _ = messages | "LandMessages" >> self._land
        return messages.pipeline | "WatchFiles" >> self._watch
