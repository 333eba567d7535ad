"""A segment: what one run produced, where its files lie, and how they are described.

``segments/<name>/`` holds ``plan.json``, ``vectors/part-*.parquet`` each with its marker
``part-*.json``, ``rejects/``, ``index/``, ``lexical/`` and, once all is done, ``segment.json``.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from transforms import storage
from transforms.errors import Conflict, Damaged
from transforms.index_info import IndexInfo
from transforms.lexical_info import LexicalInfo
from transforms.model import ModelIdentity
from transforms.planning import Plan
from transforms.sealing import seal, unseal
from transforms.storage import FileInfo

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class PartInfo:
    """A part that is done; the content of its marker.

    Attributes:
        number: its place in the segment.
        name: its file in ``vectors/``.
        rows: passages in it.
        bytes: the file's size.
        sha256: the file's digest.
        documents: documents with at least one passage in it.
        tokens: token ids embedded, special tokens counted.
        text_bytes: UTF-8 bytes of the passages.
        rejects: reason to number of rejected rows.
        rejects_name: the file in ``rejects/``, or "".
        rejects_sha256: its digest, or "".
    """

    number: int
    name: str
    rows: int
    bytes: int
    sha256: str
    documents: int
    tokens: int
    text_bytes: int
    rejects: dict[str, int]
    rejects_name: str = ""
    rejects_sha256: str = ""


@dataclass(frozen=True)
class SegmentInfo:
    """The content of ``segment.json``.

    Attributes:
        name: the segment's folder.
        identity: the model of its vectors.
        vector_dtype: ``float32`` or ``float16``.
        inputs: the files that it was made of.
        metadata: the metadata columns' Arrow schema.
        parts: in order; a row's id is its place in their concatenation.
        index: None where none was asked for.
        lexical: likewise.
    """

    name: str
    identity: ModelIdentity
    vector_dtype: str
    inputs: tuple[FileInfo, ...]
    metadata: pa.Schema
    parts: tuple[PartInfo, ...]
    index: IndexInfo | None
    lexical: LexicalInfo | None = None

    @property
    def rows(self) -> int:
        """Passages in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of parts and indexes."""
        indexes = [index.size for index in (self.index, self.lexical) if index is not None]
        return self.total("bytes") + sum(indexes)

    def total(self, name: str) -> int:
        """The sum over parts of one of their numbers, such as ``documents`` or ``tokens``."""
        return sum(getattr(part, name) for part in self.parts)

    @property
    def rejects(self) -> dict[str, int]:
        """Reason to number of rejected rows."""
        counts: Counter[str] = Counter()
        for part in self.parts:
            counts.update(part.rejects)
        return dict(sorted(counts.items()))

    def to_json(self) -> bytes:
        """The segment as JSON, the same bytes for the same content."""
        value = asdict(self) | {"metadata": self.metadata.serialize().to_pybytes().hex()}
        return json.dumps(value, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> "SegmentInfo":
        """The segment that `to_json` wrote; ``where`` names the file in errors."""
        return parse(content, where, cls._from_value)

    @classmethod
    def _from_value(cls, value: dict[str, Any]) -> "SegmentInfo":
        index = value["index"]
        if index is not None:
            index = IndexInfo.from_dict(index)
            for file in index.files:
                check_name(file.name)
        # Segments of an earlier albeam lack it.
        lexical = value.get("lexical")
        if lexical is not None:
            lexical = checked_lexical(lexical)
        parts = tuple(_checked_part(part) for part in value["parts"])
        return cls(
            name=check_name(value["name"]),
            identity=ModelIdentity.from_dict(value["identity"]),
            vector_dtype=value["vector_dtype"],
            inputs=tuple(FileInfo(**file) for file in value["inputs"]),
            metadata=pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(value["metadata"]))),
            parts=parts,
            index=index,
            lexical=lexical,
        )


_RESTORE = "restore it from a backup, or go back with albeam rollback"
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
        return storage.join(self.store, "segments", self.name)

    @property
    def plan(self) -> str:
        """``plan.json``."""
        return storage.join(self.root, "plan.json")

    @property
    def manifest(self) -> str:
        """``segment.json``."""
        return storage.join(self.root, "segment.json")

    @property
    def vectors(self) -> str:
        """The folder of parts and markers."""
        return storage.join(self.root, "vectors")

    @property
    def rejects(self) -> str:
        """The folder of rejected rows."""
        return storage.join(self.root, "rejects")

    @property
    def index(self) -> str:
        """The folder of index files."""
        return storage.join(self.root, "index")

    @property
    def lexical(self) -> str:
        """The folder of lexical index files."""
        return storage.join(self.root, "lexical")

    @property
    def changes(self) -> str:
        """The folder of what a comparison with the store found; `transforms.changes` knows it."""
        return storage.join(self.root, "changes")

    @property
    def tombstones(self) -> str:
        """The folder of files that name dead rows."""
        return storage.join(self.root, "tombstones")

    def marker(self, part: int) -> str:
        """The marker of a part."""
        return storage.join(self.vectors, f"part-{part:05d}.json")

    def claim(self) -> None:
        """Keep what stands here from a vacuum, before it is relied on.

        Raises:
            Conflict: it is being removed.
        """
        self._check_claim()
        content = json.dumps({"claimed": time.time()}).encode()
        with storage.put_atomically(self.root, lambda _: HEARTBEAT) as path:
            Path(path).write_bytes(content)
        self._check_claim()

    def _check_claim(self) -> None:
        if storage.exists(storage.join(self.root, VACUUMED)):
            raise Conflict(f"{self.root} is being removed by a vacuum; run again when it is done")

    def read_plan(self) -> Plan | None:
        """The plan that an earlier run of the same command stored, if any."""
        try:
            return Plan.from_json(storage.read_bytes(self.plan), self.plan)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def settle_plan(self, plan: Plan) -> Plan:
        """Store the plan, or adopt the one that stands."""
        if storage.create_exclusively(self.plan, plan.to_json()):
            return plan
        standing = self.read_plan()
        assert standing is not None
        return standing

    def settle_part(self, info: PartInfo) -> PartInfo:
        """Create a part's marker, or adopt the one that stands and drop this attempt's files."""
        content = seal(asdict(info))
        if storage.create_exclusively(self.marker(info.number), content):
            return info
        standing = self.read_marker(info.number)
        assert standing is not None
        if standing.name != info.name:
            storage.remove(storage.join(self.vectors, info.name))
        if info.rejects_name and standing.rejects_name != info.rejects_name:
            storage.remove(storage.join(self.rejects, info.rejects_name))
        return standing

    def read_marker(self, part: int) -> PartInfo | None:
        """What a part's marker says, or None while the part is not done."""
        url = self.marker(part)
        try:
            content = storage.read_bytes(url)
        except FileNotFoundError:
            return None
        return read_value(unseal(content, url), url, _checked_part)

    def done_parts(self) -> set[int]:
        """The numbers of the parts whose markers stand."""
        return {
            int(name[5:-5])
            for name in storage.list_names(self.vectors)
            if re.fullmatch(r"part-\d{5,}\.json", name)
        }

    def settle_segment(self, info: SegmentInfo) -> tuple[SegmentInfo, str]:
        """Write ``segment.json``, or adopt the one that stands; the segment and its SHA-256."""
        content = info.to_json()
        if not storage.create_exclusively(self.manifest, content):
            content = storage.read_bytes(self.manifest)
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


def check_name(name: str) -> str:
    """``name`` where it is a plain file name; a manifest's paths may not leave the store.

    Raises:
        Damaged: it is anything else.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Damaged(
            f"{name!r} is not a file name inside the store; the manifest was tampered with: "
            "restore it from a backup, or go back with albeam rollback"
        )
    return name


def parse(content: bytes, where: str, build: Callable[[dict[str, Any]], T]) -> T:
    """``build`` of a JSON file's value.

    Raises:
        Damaged: the content is not JSON or lacks what ``build`` takes; ``where`` names the file.
    """
    try:
        value = json.loads(content)
    except ValueError as error:
        raise Damaged(f"{where} can't be read as a manifest: {error}; {_RESTORE}") from error
    return read_value(value, where, build)


def read_value(value: Any, where: str, build: Callable[[dict[str, Any]], T]) -> T:
    """``build`` of a manifest's value; see `parse`."""
    try:
        return build(value)
    except Damaged as error:
        raise Damaged(f"{where}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise Damaged(
            f"{where} can't be read as a manifest: {type(error).__name__}: {error}; {_RESTORE}"
        ) from error


def checked_lexical(value: dict[str, Any]) -> LexicalInfo:
    """A lexical index from its JSON value, whose file names stay in the store."""
    info = LexicalInfo.from_dict(value)
    for file in info.files:
        check_name(file.name)
    return info


def _checked_part(value: dict[str, Any]) -> PartInfo:
    part = PartInfo(**value)
    check_name(part.name)
    if part.rejects_name:
        check_name(part.rejects_name)
    return part


def complete_parts(
    paths: SegmentPaths, count: int, known: Iterable[PartInfo]
) -> tuple[PartInfo, ...]:
    """All ``count`` parts of a segment, those not ``known`` read from their markers.

    Raises:
        Damaged: a part is not done.
    """
    infos = {info.number: info for info in known}
    others = [number for number in range(count) if number not in infos]
    for number, info in zip(others, storage.in_threads(paths.read_marker, others), strict=True):
        if info is None:
            raise Damaged(f"{paths.marker(number)} is missing; run the same command again")
        infos[number] = info
    return tuple(infos[number] for number in range(count))
