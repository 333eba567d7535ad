"""Where the files of a segment lie, and the writes that settle them."""

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transforms.catalog.manifest_json import read_value
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo, SegmentInfo, checked_part
from transforms.errors import Conflict
from transforms.storage import filesystem
from transforms.storage.checksummed_json import seal, unseal

#: In a segment's folder: its age is that of the last run which took up its files.
HEARTBEAT = "heartbeat.json"
#: In a segment's folder: its files are being removed.
VACUUMED = "vacuumed.json"


@dataclass(frozen=True)
class SegmentPaths:
    """Where the files of a segment lie, and the writes that settle them."""

    store: str
    name: str

    @property
    def root(self) -> str:
        """The segment's folder."""
        return filesystem.join(self.store, "segments", self.name)

    @property
    def plan(self) -> str:
        """``plan.json``."""
        return filesystem.join(self.root, "plan.json")

    @property
    def manifest(self) -> str:
        """``segment.json``."""
        return filesystem.join(self.root, "segment.json")

    @property
    def vectors(self) -> str:
        """The folder of parts and markers."""
        return filesystem.join(self.root, "vectors")

    @property
    def rejects(self) -> str:
        """The folder of rejected rows."""
        return filesystem.join(self.root, "rejects")

    @property
    def index(self) -> str:
        """The folder of index files."""
        return filesystem.join(self.root, "index")

    @property
    def lexical(self) -> str:
        """The folder of lexical index files."""
        return filesystem.join(self.root, "lexical")

    @property
    def changes(self) -> str:
        """Folder of the change set, which `transforms.transactions.change_set` writes."""
        return filesystem.join(self.root, "changes")

    @property
    def tombstones(self) -> str:
        """The folder of files that name dead rows."""
        return filesystem.join(self.root, "tombstones")

    def marker(self, part: int) -> str:
        """The marker of a part."""
        return filesystem.join(self.vectors, f"part-{part:05d}.json")

    def claim(self) -> None:
        """Keep what stands here from a vacuum, before it is relied on.

        Raises:
            Conflict: it is being removed.
        """
        self._check_claim()
        content = json.dumps({"claimed": time.time()}).encode()
        with filesystem.put_atomically(self.root, lambda _: HEARTBEAT) as path:
            Path(path).write_bytes(content)
        self._check_claim()

    def _check_claim(self) -> None:
        if filesystem.exists(filesystem.join(self.root, VACUUMED)):
            raise Conflict(f"{self.root} is being removed by a vacuum; run again when it is done")

    def read_plan(self) -> Plan | None:
        """The plan that an earlier run of the same command stored, if any."""
        try:
            return Plan.from_json(filesystem.read_bytes(self.plan), self.plan)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def settle_plan(self, plan: Plan) -> Plan:
        """Store the plan, or adopt the one that stands."""
        if filesystem.create_exclusively(self.plan, plan.to_json()):
            return plan
        standing = self.read_plan()
        assert standing is not None
        return standing

    def settle_part(self, info: PartInfo) -> PartInfo:
        """Create a part's marker, or adopt the one that stands and drop this attempt's files."""
        content = seal(asdict(info))
        if filesystem.create_exclusively(self.marker(info.number), content):
            return info
        standing = self.read_marker(info.number)
        assert standing is not None
        if standing.name != info.name:
            filesystem.remove(filesystem.join(self.vectors, info.name))
        if info.rejects_name and standing.rejects_name != info.rejects_name:
            filesystem.remove(filesystem.join(self.rejects, info.rejects_name))
        return standing

    def read_marker(self, part: int) -> PartInfo | None:
        """What a part's marker says, or None while the part is not done."""
        url = self.marker(part)
        try:
            content = filesystem.read_bytes(url)
        except FileNotFoundError:
            return None
        return read_value(unseal(content, url), url, checked_part)

    def done_parts(self) -> set[int]:
        """The numbers of the parts whose markers stand."""
        return {
            int(name[5:-5])
            for name in filesystem.list_names(self.vectors)
            if re.fullmatch(r"part-\d{5,}\.json", name)
        }

    def settle_segment(self, info: SegmentInfo) -> tuple[SegmentInfo, str]:
        """Write ``segment.json``, or adopt the one that stands; the segment and its SHA-256."""
        content = info.to_json()
        if not filesystem.create_exclusively(self.manifest, content):
            content = filesystem.read_bytes(self.manifest)
            standing = SegmentInfo.from_json(content, self.manifest)
            if standing.parts != info.parts:
                raise Conflict(
                    f"{self.manifest} describes other parts than this run wrote; "
                    "remove the segment's folder and run again"
                )
            info = standing
        return info, hashlib.sha256(content).hexdigest()


def part_name(part: int, digest: str, suffix: str) -> str:
    """The file name of an attempt at a part: its number and the start of its content's hash."""
    return f"part-{part:05d}-{digest[:8]}{suffix}"


def segment_name(value: dict[str, Any]) -> str:
    """The fingerprint of a run's inputs and options: 16 hexadecimal digits."""
    content = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(content).hexdigest()[:16]
