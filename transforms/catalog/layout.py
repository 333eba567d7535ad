"""The files of a segment: where they lie, and how they are created."""

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.catalog.manifest_json import convert
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.errors import Conflict
from transforms.storage import filesystem
from transforms.storage.checksummed_json import seal, unseal

#: A file in a segment's folder. Its age tells a vacuum when a run last claimed the segment.
HEARTBEAT = "heartbeat.json"
#: A file in a segment's folder. It means that a vacuum is removing the segment.
VACUUMED = "vacuumed.json"


@dataclass(frozen=True)
class SegmentPaths:
    """The files of a segment: where they lie, and how they are created."""

    store: str
    name: str

    @property
    def root(self) -> str:
        """Return the segment's folder."""
        return filesystem.join(self.store, "segments", self.name)

    @property
    def plan(self) -> str:
        """Return the URL of ``plan.json``."""
        return filesystem.join(self.root, "plan.json")

    @property
    def manifest(self) -> str:
        """Return the URL of ``segment.json``."""
        return filesystem.join(self.root, "segment.json")

    @property
    def vectors(self) -> str:
        """Return the folder of parts and markers."""
        return filesystem.join(self.root, "vectors")

    @property
    def rejects(self) -> str:
        """Return the folder of rejected rows."""
        return filesystem.join(self.root, "rejects")

    @property
    def index(self) -> str:
        """Return the folder of vector index files."""
        return filesystem.join(self.root, "index")

    @property
    def lexical(self) -> str:
        """Return the folder of lexical index files."""
        return filesystem.join(self.root, "lexical")

    @property
    def changes(self) -> str:
        """Return the folder of the change set; see `transforms.transactions.change_set`."""
        return filesystem.join(self.root, "changes")

    @property
    def tombstones(self) -> str:
        """Return the folder of tombstone files."""
        return filesystem.join(self.root, "tombstones")

    def marker(self, part: int) -> str:
        """Return the URL of a part's marker."""
        return filesystem.join(self.vectors, f"part-{part:05d}.json")

    def claim(self) -> None:
        """Protect the segment's files from a vacuum, before a run relies on them.

        Raises:
            Conflict: a vacuum is removing the segment.
        """
        self._check_claim()
        content = json.dumps({"claimed": time.time()}).encode()
        with filesystem.put_atomically(self.root, lambda _: HEARTBEAT) as path:
            Path(path).write_bytes(content)
        self._check_claim()

    def _check_claim(self) -> None:
        if filesystem.exists(filesystem.join(self.root, VACUUMED)):
            raise Conflict(
                "segment", self.name, "is being removed by a vacuum", "Run again when it is done"
            )

    def read_plan(self) -> Plan | None:
        """Return the plan that an earlier run of the same command stored, if any."""
        try:
            return Plan.from_json(filesystem.read_bytes(self.plan), self.plan)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create_plan(self, plan: Plan) -> Plan:
        """Create ``plan.json``, or return the existing plan."""
        if filesystem.create_exclusively(self.plan, plan.to_json()):
            return plan
        existing = self.read_plan()
        assert existing is not None
        return existing

    def create_marker(self, info: PartInfo) -> PartInfo:
        """Create a part's marker and return its content.

        If another attempt was faster, its marker is returned and this attempt's files are removed.
        """
        content = seal(info.to_dict())
        if filesystem.create_exclusively(self.marker(info.number), content):
            return info
        existing = self.read_marker(info.number)
        assert existing is not None
        if existing.name != info.name:
            filesystem.remove(filesystem.join(self.vectors, info.name))
        if info.rejects_name and existing.rejects_name != info.rejects_name:
            filesystem.remove(filesystem.join(self.rejects, info.rejects_name))
        return existing

    def read_marker(self, part: int) -> PartInfo | None:
        """Return the content of a part's marker; None if the part is not finished."""
        url = self.marker(part)
        try:
            content = filesystem.read_bytes(url)
        except FileNotFoundError:
            return None
        return convert(unseal(content, url), PartInfo, url)

    def finished_parts(self) -> set[int]:
        """Return the numbers of the parts that have a marker."""
        return {
            int(name[5:-5])
            for name in filesystem.list_names(self.vectors)
            if re.fullmatch(r"part-[0-9]{5,15}\.json", name)
        }

    def create_manifest(self, info: SegmentInfo) -> tuple[SegmentInfo, str]:
        """Create ``segment.json``, or read the existing one; return its content and SHA-256.

        Raises:
            Conflict: the existing manifest describes other parts.
        """
        content = info.to_json()
        if not filesystem.create_exclusively(self.manifest, content):
            content = filesystem.read_bytes(self.manifest)
            existing = SegmentInfo.from_json(content, self.manifest)
            if existing.parts != info.parts:
                raise Conflict(
                    "manifest",
                    self.manifest,
                    "describes other parts than this run wrote",
                    "Remove the segment's folder and run again",
                )
            info = existing
        return info, hashlib.sha256(content).hexdigest()


def part_name(part: int, digest: str, suffix: str) -> str:
    """Return the file name of an attempt at a part: its number and the start of its digest."""
    return f"part-{part:05d}-{digest[:8]}{suffix}"


def segment_name(value: dict[str, Any]) -> str:
    """Return the fingerprint of a run's inputs and options: 16 hexadecimal digits."""
    content = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(content).hexdigest()[:16]
