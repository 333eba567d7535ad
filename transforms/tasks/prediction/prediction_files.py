"""The folder of predictions: a Parquet file for each part, and what a resume needs.

``part-<number>-<hash>.parquet`` lie in the folder itself, so that any reader of Parquet reads it as
one table. ``_albeam/`` has the plan, the markers of finished parts, and rejects.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import PartInfo
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.parquet_files import open_parquet, reading

_WORK = "_albeam"
_PART = re.compile(r"part-[0-9]{5,15}-[0-9a-f]{8}\.parquet")


@dataclass(frozen=True)
class PredictionPaths(SegmentPaths):
    """The files of predictions, in place of those of a segment.

    Attributes:
        store: the folder of the predictions.
        name: the fingerprint of the run.
    """

    @property
    def root(self) -> str:
        """Return the folder of the files that only albeam reads."""
        return filesystem.join(self.store, _WORK)

    @property
    def vectors(self) -> str:
        """Return the folder of the parts."""
        return self.store

    @property
    def run(self) -> str:
        """Return the URL of the file that says which run the predictions are of."""
        return filesystem.join(self.root, "run.json")

    def marker(self, part: int) -> str:
        """Return the URL of a part's marker."""
        return filesystem.join(self.root, f"part-{part:05d}.json")

    def finished_parts(self) -> set[int]:
        """Return the numbers of the parts that have a marker."""
        return {
            int(name[5:-5])
            for name in filesystem.list_names(self.root)
            if re.fullmatch(r"part-[0-9]{5,15}\.json", name)
        }


def prepare_folder(paths: PredictionPaths) -> None:
    """Take a folder for a run, or find it taken by the same run.

    Raises:
        BadInput: it has other files, or the predictions of another run.
    """
    content = json.dumps({"run": paths.name}).encode()
    filesystem.check_exclusive(paths.store)
    names = [name for name in filesystem.list_names(paths.store) if name != _WORK]
    taken = filesystem.exists(paths.run)
    if not taken and names:
        problem = f"holds other files, such as {names[0]}"
        raise BadInput("output", paths.store, problem, "Name a new folder")
    if not filesystem.create_exclusively(paths.run, content):
        if filesystem.read_bytes(paths.run) == content:
            return
        problem = "holds the predictions of another head, or of another input"
        raise BadInput("output", paths.store, problem, "Name a new folder")


def count_values(paths: PredictionPaths, parts: Sequence[PartInfo], column: str) -> dict[str, int]:
    """Return how many rows have each value of a column; of lists, each of their values counts."""
    counts: Counter[str] = Counter()
    for table in _columns(paths, parts, [column]):
        values = table.column(column)
        flat = pc.list_flatten(values) if hasattr(values.type, "value_type") else values
        for each in pc.value_counts(flat).to_pylist():
            counts[str(each["values"])] += each["counts"]
    return dict(sorted(counts.items()))


def count_nulls(paths: PredictionPaths, parts: Sequence[PartInfo], column: str) -> int:
    """Return how many rows have no value in a column."""
    return sum(table.column(column).null_count for table in _columns(paths, parts, [column]))


def count_documents(paths: PredictionPaths, parts: Sequence[PartInfo]) -> int:
    """Return how many documents have entities: rows of one follow each other, by their start."""
    count = 0
    for table in _columns(paths, parts, ["document_id", "start"]):
        ids, starts = table.column("document_id"), table.column("start")
        if table.num_rows:
            other = pc.not_equal(ids[1:], ids[:-1])
            again = pc.less_equal(starts[1:], starts[:-1])
            count += 1 + (pc.sum(pc.or_(other, again)).as_py() or 0)
    return count


def _columns(
    paths: PredictionPaths, parts: Sequence[PartInfo], names: list[str]
) -> Iterator[pa.Table]:
    for part in parts:
        url = filesystem.join(paths.vectors, part.name)
        with open_parquet(url) as file, reading(url):
            yield file.read(columns=names)
