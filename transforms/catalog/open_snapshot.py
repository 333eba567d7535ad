"""One snapshot together with the manifests of its segments, each read once."""

from typing import Any

from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment
from transforms.catalog.tombstones import read_tombstones


class OpenSnapshot:
    """A snapshot whose manifests and tombstones are read when first needed, and then kept.

    A manifest can be large: reading it once per segment instead of once per part makes the
    difference between linear and quadratic work.

    Attributes:
        store: the store's URL.
        snapshot: the snapshot; None for an empty store.
    """

    def __init__(self, store: str, snapshot: Snapshot | None = None) -> None:
        self.store, self.snapshot = store, snapshot
        self._infos: dict[str, SegmentInfo] = {}
        self._tombstones: dict[str, BitMap64] = {}

    @property
    def number(self) -> int:
        """Return the snapshot's number; 0 for an empty store."""
        return self.snapshot.number if self.snapshot is not None else 0

    @property
    def segments(self) -> tuple[SegmentRef, ...]:
        """Return the live segments, oldest first."""
        return self.snapshot.segments if self.snapshot is not None else ()

    @property
    def passages(self) -> int:
        """Return the number of live passages."""
        return self.snapshot.passages if self.snapshot is not None else 0

    def paths(self, place: int) -> SegmentPaths:
        """Return the paths of the segment at a place."""
        return SegmentPaths(self.store, self.segments[place].name)

    def info(self, place: int) -> SegmentInfo:
        """Return the manifest of the segment at a place.

        Raises:
            Damaged: the manifest is missing, or its digest is wrong.
        """
        ref = self.segments[place]
        if ref.name not in self._infos:
            self._infos[ref.name] = read_segment(self.store, ref)
        return self._infos[ref.name]

    def infos(self) -> list[SegmentInfo]:
        """Return the manifests of all segments, oldest first."""
        return [self.info(place) for place in range(len(self.segments))]

    def tombstones(self, place: int) -> BitMap64:
        """Return the dead rows of the segment at a place.

        Raises:
            Damaged: the file is missing, or its digest is wrong.
        """
        ref = self.segments[place]
        if ref.name not in self._tombstones:
            self._tombstones[ref.name] = read_tombstones(
                self.paths(place), ref.tombstones, ref.passages
            )
        return self._tombstones[ref.name]

    def __getstate__(self) -> dict[str, Any]:
        # Workers read what they need: the manifests would make a job's description huge.
        return self.__dict__ | {"_infos": {}, "_tombstones": {}}
