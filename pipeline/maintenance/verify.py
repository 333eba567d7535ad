"""``albeam verify``: check every file of a snapshot against the manifests."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from pipeline.command_line.console import counted
from pipeline.maintenance.verify_deep import DeepReport, check_deeply
from transforms.catalog.index_manifest import IndexInfo
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.manifest_json import load
from transforms.catalog.parts import MODEL_KEY, PartFormat, format_of, open_part
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment, read_snapshot
from transforms.catalog.tombstones import live_mask, read_tombstones
from transforms.errors import Damaged
from transforms.index.lexical.open import open_lexical
from transforms.index.vector.segment_index import SegmentIndex
from transforms.search.store import Store
from transforms.storage import filesystem, remedies
from transforms.storage.file_cache import FileCache, check_file
from transforms.storage.parquet_files import reading
from transforms.storage.schema import PASSAGE_FIELDS, VECTOR

#: Parts of a segment of which texts are looked up in its lexical index.
_SAMPLED_PARTS = 16
_SNAPSHOT_REMEDY = "Roll back, or embed again"


@dataclass(frozen=True)
class VerifyReport:
    """Result of a check that found no damage.

    Attributes:
        store: URL of the store.
        snapshot: number of the checked snapshot.
        segments: number of its segments.
        files: number of checked files.
        passages: number of its live passages.
        deep: what the deep check found; None without one.
    """

    store: str
    snapshot: int
    segments: int
    files: int
    passages: int
    deep: DeepReport | None = None


def run(
    store: str, deep: bool = False, model: str | None = None, number: int | None = None
) -> VerifyReport:
    """Check manifests, sizes, digests, schemas, counts, ids and index files.

    Args:
        store: URL of the store.
        deep: also check a sample of vectors against their texts, and the index against exact
            search.
        model: new place of the store's model, if it has moved.
        number: number of the snapshot; None is the newest.

    Raises:
        BadInput: there is no store, or no such snapshot.
        Damaged: the check found damage; the error lists all of it.
    """
    store = filesystem.absolute(store)
    snapshot = read_snapshot(store, number)
    check = _Check(store, snapshot)
    for ref in snapshot.segments:
        with check.collecting():
            check.check_segment(ref)
    _raise_if_damaged(store, check.damages)
    report = None
    if deep:
        # Only a store without damage: this reads what the manifests describe.
        report, damages = check_deeply(Store.open(store, snapshot.number, model))
        _raise_if_damaged(store, damages)
    return VerifyReport(
        store,
        snapshot.number,
        len(snapshot.segments),
        check.files,
        snapshot.passages,
        report,
    )


def _raise_if_damaged(store: str, damages: list[Damaged]) -> None:
    if damages:
        listed = " | ".join(map(str, damages)).rstrip(".")
        problem = f"has {counted(len(damages), 'damage')}: {listed}"
        raise Damaged("store", store, problem, "Do what each of them says, and verify again")


@dataclass
class _Check:
    """A check of one snapshot, segment after segment.

    Attributes:
        store: URL of the store.
        snapshot: the snapshot.
        files: number of checked files; the snapshot's own file is the first.
        documents: ids of all live documents so far.
        damages: all damage so far.
    """

    store: str
    snapshot: Snapshot
    files: int = 1
    documents: set[str] = field(default_factory=set)
    damages: list[Damaged] = field(default_factory=list)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note damage that the block raises, and continue after the block."""
        try:
            yield
        except Damaged as error:
            self.damages.append(error)

    def check_segment(self, ref: SegmentRef) -> None:
        """Check all files of a segment, and its numbers in the snapshot.

        Raises:
            Damaged: the manifest or the tombstones can't be read.
        """
        info = read_segment(self.store, ref)
        paths = SegmentPaths(self.store, ref.name)
        dead = read_tombstones(paths, ref.tombstones, info.rows)
        self.files += 1 + (ref.tombstones is not None)
        damages, documents = len(self.damages), len(self.documents)
        sound = self._check_parts(paths, info, dead)
        if info.index is not None:
            self._check_index(paths, info, info.index)
        if info.lexical is not None:
            self._check_lexical(paths, info, info.lexical, sound)
        if len(self.damages) == damages:
            live = (len(self.documents) - documents, info.rows - len(dead))
            self._compare(ref, "live ", live, (ref.live_documents, ref.live_passages))
        if difference := info.identity.difference(self.snapshot.identity):
            problem = f"has another model than the snapshot: {difference}"
            self.damages.append(Damaged("segment", ref.name, problem, remedies.NEW_STORE))
        total = (info.total("documents"), info.rows)
        self._compare(ref, "", total, (ref.documents, ref.passages))

    def _compare(
        self, ref: SegmentRef, kind: str, found: tuple[int, int], recorded: tuple[int, int]
    ) -> None:
        if found != recorded:
            problem = (
                f"has {found[0]} {kind}documents and {found[1]} {kind}passages, but the snapshot "
                f"records {recorded[0]} and {recorded[1]}"
            )
            self.damages.append(Damaged("segment", ref.name, problem, _SNAPSHOT_REMEDY))

    def _check_parts(
        self, paths: SegmentPaths, info: SegmentInfo, dead: BitMap64
    ) -> list[PartInfo]:
        """Check the parts of a segment, and return those without damage."""
        form = format_of(info)
        sound: list[PartInfo] = []
        first = 0
        for part in info.parts:
            self.files += 2 if part.rejects_name else 1
            with self.collecting():
                live = live_mask(dead, first, first + part.rows)
                _check_part(paths, part, form, live, self.documents)
                sound.append(part)
                if part.rejects_name:
                    url = filesystem.join(paths.rejects, part.rejects_name)
                    size = filesystem.size(url) if filesystem.exists(url) else 0
                    check_file(url, size, part.rejects_sha256)
            first += part.rows
        return sound

    def _check_index(self, paths: SegmentPaths, info: SegmentInfo, index: IndexInfo) -> None:
        self.files += len(list(index.files))
        with tempfile.TemporaryDirectory() as cache:
            opened = SegmentIndex(paths, index, info.identity.dim, FileCache(Path(cache)))
            for shard in index.shards:
                with self.collecting():
                    opened.open(shard)
            with self.collecting():
                opened.open_trained()
        rows = sum(shard.rows for shard in index.shards)
        if rows != info.rows:
            problem = f"has {rows} rows in its index, but {info.rows} in its parts"
            self.damages.append(Damaged("segment", info.name, problem, remedies.BUILD_INDEX))

    def _check_lexical(
        self, paths: SegmentPaths, info: SegmentInfo, lexical: LexicalInfo, sound: list[PartInfo]
    ) -> None:
        self.files += len(list(lexical.files))
        damages = len(self.damages)
        if lexical.rows != info.rows:
            problem = f"has {lexical.rows} rows in its lexical index, but {info.rows} in its parts"
            self.damages.append(Damaged("segment", info.name, problem, remedies.BUILD_LEXICAL))
        for file in lexical.files:
            with self.collecting():
                url = filesystem.join(paths.lexical, file.name)
                check_file(url, file.bytes, file.sha256, remedies.BUILD_LEXICAL)
        if len(self.damages) == damages:
            with self.collecting(), tempfile.TemporaryDirectory() as cache:
                index = open_lexical(paths.store, [info], FileCache(Path(cache)))
                index.check(_sample_of_texts(paths, sound))


def _check_values(table: pa.Table, url: str) -> None:
    """Raise Damaged if a passage lacks a value that each passage has, or is not Unicode."""
    for name in (*(each.name for each in PASSAGE_FIELDS), VECTOR):
        if table.column(name).null_count:
            problem = f"has a passage without {name}"
            raise Damaged("part", url, problem, remedies.EMBED_AGAIN)
    with reading(url):
        table.validate(full=True)
    vectors = table.column(VECTOR).combine_chunks().flatten()
    if vectors.null_count or not np.isfinite(vectors.to_numpy(zero_copy_only=False)).all():
        problem = "has a vector with a number that is not finite"
        raise Damaged("part", url, problem, remedies.EMBED_AGAIN)


def _sample_of_texts(paths: SegmentPaths, parts: list[PartInfo]) -> Iterator[str]:
    """Yield texts of evenly spaced row groups of parts, and no more than a few thousand."""
    parts = [part for part in parts if part.rows]
    for part in parts[:: len(parts) // _SAMPLED_PARTS + 1]:
        url = filesystem.join(paths.vectors, part.name)
        with open_part(paths, part) as file, reading(url):
            yield from file.read_row_group(0, columns=["text"]).column(0).to_pylist()


def _check_part(
    paths: SegmentPaths,
    part: PartInfo,
    form: PartFormat,
    live: npt.NDArray[np.bool_],
    seen: set[str],
) -> None:
    """Check a part, and add its live documents to those that were seen before."""
    url = filesystem.join(paths.vectors, part.name)
    check_file(url, part.bytes, part.sha256)
    with open_part(paths, part, form) as file, reading(url):
        schema: pa.Schema = file.schema_arrow
        table = file.read()
    identity = load((schema.metadata or {}).get(MODEL_KEY, b"null"), url)
    if identity != form.identity.to_dict():
        problem = f"has vectors of model {identity}, but the manifest names another one"
        raise Damaged("part", url, problem, remedies.EMBED_AGAIN)
    _check_values(table, url)
    documents = set(pc.unique(table.column("document_id").filter(pa.array(live))).to_pylist())
    twice = sorted(documents & seen)
    if twice:
        problem = f"shares {counted(len(twice), 'document')} with other parts, such as {twice[0]!r}"
        raise Damaged("part", url, problem, remedies.NEW_STORE)
    seen |= documents
    pairs = table.group_by(["document_id", "passage"]).aggregate([])
    if pairs.num_rows != table.num_rows:
        raise Damaged("part", url, "has the same passage of a document twice", remedies.NEW_STORE)
