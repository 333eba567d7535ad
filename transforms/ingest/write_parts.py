"""The transform that writes parts from chunks with vectors, one after another in each bundle."""

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import PartInfo
from transforms.errors import BadInput
from transforms.ingest.part_tables import chunk_of
from transforms.ingest.part_writer import PartWriter, RowFormat
from transforms.ingest.row_errors import naming_rows
from transforms.runtime.checked_fn import CheckedFn
from transforms.runtime.heap import trim_heap
from transforms.storage import arrow_coder  # noqa: F401
from transforms.storage.schema import METRICS


class WritePartsFn(CheckedFn):
    """The function that writes chunks with vectors to parts, one part after another."""

    def __init__(self, paths: SegmentPaths, form: RowFormat) -> None:
        super().__init__()
        self._paths, self._form = paths, form
        self._writer: PartWriter | None = None

    def start_bundle(self) -> None:
        """Drop a part that an earlier bundle left unfinished."""
        self._abort()

    def process(self, element: pa.Table) -> Iterator[PartInfo]:
        """Write a chunk; yield the `PartInfo` of the part after its last chunk."""
        chunk = chunk_of(element)
        if self._writer is None:
            self._writer = PartWriter(self._paths, chunk.part, self._form)
        with naming_rows(element, "written"):
            self._writer.write(element)
        if chunk.last:
            info = self._writer.finish()
            self._writer = None
            # Memory that one part needed is returned before the next one.
            trim_heap()
            Metrics.counter(METRICS, "parts").inc()
            Metrics.counter(METRICS, "documents").inc(info.documents)
            for reason, count in info.rejects.items():
                Metrics.counter(METRICS, f"rejects: {reason}").inc(count)
            yield info

    def finish_bundle(self) -> None:
        """Raise BadInput if a part is incomplete."""
        if self._writer is not None:
            self._abort()
            raise BadInput(
                "bundle",
                None,
                "ended in the middle of a part",
                "Use a runner that fuses ReadParts to WriteParts into one stage",
            )

    def teardown(self) -> None:
        """Close all files."""
        self._abort()

    def _abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer = None


class WriteParts(beam.PTransform):
    """The transform from tables with vectors to files; it yields the `PartInfo` of each part."""

    def __init__(self, paths: SegmentPaths, form: RowFormat) -> None:
        super().__init__()
        self._paths, self._form = paths, form

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[PartInfo]:
        """Wire `PartWriter`."""
        write = beam.ParDo(WritePartsFn(self._paths, self._form))
        return pcoll | "Write" >> write.with_output_types(PartInfo)
