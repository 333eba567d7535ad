"""The transform from chunks with vectors to files: one part after another in each bundle."""

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.parts import PartFormat
from transforms.catalog.segment import PartInfo
from transforms.errors import BadInput
from transforms.ingest.chunks import chunk_of
from transforms.ingest.part_writer import PartWriter
from transforms.runtime.heap import trim_heap
from transforms.storage import arrow_coder  # noqa: F401
from transforms.storage.schema import METRICS


class WritePartsFn(beam.DoFn):
    """Chunks with vectors to files, one part after another."""

    def __init__(self, paths: SegmentPaths, form: PartFormat) -> None:
        self._paths, self._form = paths, form
        self._writer: PartWriter | None = None

    def start_bundle(self) -> None:
        """Forget a part that an earlier bundle was in the middle of."""
        self._give_up()

    def process(self, element: pa.Table) -> Iterator[PartInfo]:
        """Write a chunk; the last one of a part gives its `PartInfo`."""
        chunk = chunk_of(element)
        if self._writer is None:
            self._writer = PartWriter(self._paths, chunk.part, self._form)
        self._writer.write(element)
        if chunk.last:
            info = self._writer.finish()
            self._writer = None
            # Each part begins as the first one did.
            trim_heap()
            Metrics.counter(METRICS, "parts").inc()
            Metrics.counter(METRICS, "documents").inc(info.documents)
            for reason, count in info.rejects.items():
                Metrics.counter(METRICS, f"rejects: {reason}").inc(count)
            yield info

    def finish_bundle(self) -> None:
        """See that no part is torn."""
        if self._writer is not None:
            self._give_up()
            raise BadInput(
                "a bundle ended in the middle of a part; "
                "the runner must keep ReadParts to WriteParts in one stage"
            )

    def teardown(self) -> None:
        """Leave no file open."""
        self._give_up()

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer = None


class WriteParts(beam.PTransform):
    """``PCollection[pa.Table]`` with vectors to files; gives a `PartInfo` for each part."""

    def __init__(self, paths: SegmentPaths, form: PartFormat) -> None:
        super().__init__()
        self._paths, self._form = paths, form

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[PartInfo]:
        """Wire `PartWriter`."""
        write = beam.ParDo(WritePartsFn(self._paths, self._form))
        return pcoll | "Write" >> write.with_output_types(PartInfo)
