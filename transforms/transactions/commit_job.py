"""The transform that commits a snapshot."""

from collections.abc import Iterator

import apache_beam as beam

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot
from transforms.index.lexical.build import create_lexical_info
from transforms.index.vector.index_files import write_index_info
from transforms.runtime.checked_fn import CheckedFn
from transforms.transactions.change_set import read_change_set
from transforms.transactions.commits import commit_segment


class _CommitFn(CheckedFn):
    def __init__(self, store: str, mode: str, command: str) -> None:
        super().__init__()
        self._store, self._mode, self._command = store, mode, command

    def process(self, element: SegmentInfo) -> Iterator[Snapshot]:
        paths = SegmentPaths(self._store, element.name)
        info, digest = paths.create_manifest(element)
        changes = read_change_set(paths)
        # An earlier attempt's manifest may describe an index that is gone; the new one exists.
        index = lexical = None
        if element.index is not None and element.index != info.index:
            index = write_index_info(paths, element.index)
        if element.lexical is not None and element.lexical != info.lexical:
            lexical = create_lexical_info(paths, element.lexical)
        how = (self._mode, self._command, changes, index, lexical)
        yield commit_segment(self._store, info, digest, *how)


class CommitSnapshot(beam.PTransform):
    """The transform from a segment to the snapshot in which it is live; see `commit_segment`."""

    def __init__(self, store: str, mode: str = "append", command: str = "embed") -> None:
        super().__init__()
        self._store, self._mode, self._command = store, mode, command

    def expand(self, pcoll: beam.PCollection[SegmentInfo]) -> beam.PCollection[Snapshot]:
        """Wire `commit_segment`."""
        commit = _CommitFn(self._store, self._mode, self._command)
        return pcoll | "Commit" >> beam.ParDo(commit).with_output_types(Snapshot)
