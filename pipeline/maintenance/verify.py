"""``albeam verify``: every file of the newest snapshot against what the manifests say."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from pipeline.maintenance.verify_deep import DeepReport, check_deeply
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.parts import MODEL_KEY, PartFormat, open_part
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import read_segment, read_snapshot
from transforms.catalog.tombstones import live_mask, read_tombstones
from transforms.errors import Damaged
from transforms.index.lexical.open import open_lexical
from transforms.index.vector.segment_index import SegmentIndex
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.file_cache import INDEX_REMEDY, LEXICAL_REMEDY, FileCache, check_file


@dataclass(frozen=True)
class VerifyReport:
    """What was checked and found sound."""

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
        store: the store.
        deep: check a sample of vectors against their texts, and the index against exact search.
        model: where the store's model lies now, if it has moved.
        number: of the snapshot, the newest by default.

    Raises:
        BadInput: there is no store, or no such snapshot.
        Damaged: the damages found, one a sentence.
    """
    store = filesystem.absolute(store)
    snapshot = read_snapshot(store, number)
    problems: list[str] = []
    files = 1
    seen: set[str] = set()
    for ref in snapshot.segments:
        try:
            info = read_segment(store, ref)
        except Damaged as error:
            problems.append(str(error))
            continue
        paths = SegmentPaths(store, ref.name)
        try:
            dead = read_tombstones(paths, ref.tombstones, info.rows)
        except Damaged as error:
            problems.append(str(error))
            continue
        files += 1 + (ref.tombstones is not None)
        sound, before = len(problems), len(seen)
        files += _check_segment(paths, info, dead, seen, problems)
        live = (len(seen) - before, info.rows - len(dead))
        said = (ref.live_documents, ref.live_passages)
        if len(problems) == sound and live != said:
            problems.append(
                f"segment {ref.name}: {live} live documents and passages, and the snapshot says "
                f"{said}; roll back or embed again"
            )
        if difference := info.identity.difference(snapshot.identity):
            problems.append(
                f"segment {ref.name} is of another model than the snapshot: {difference}; "
                "embed again into a new store"
            )
        counted = (info.total("documents"), info.rows)
        if counted != (ref.documents, ref.passages):
            problems.append(
                f"segment {ref.name}: {counted} documents and passages, and the snapshot says "
                f"{(ref.documents, ref.passages)}; roll back or embed again"
            )
    if problems:
        raise Damaged(f"{len(problems)} damaged: " + " | ".join(problems))
    found = None
    if deep:
        # Not before: what is read below must be what the manifests say.
        found, problems = check_deeply(Store.open(store, snapshot.number, model))
        if problems:
            raise Damaged(f"{len(problems)} damaged: " + " | ".join(problems))
    return VerifyReport(
        store, snapshot.number, len(snapshot.segments), files, snapshot.passages, found
    )


def _check_segment(
    paths: SegmentPaths, info: SegmentInfo, dead: BitMap64, seen: set[str], problems: list[str]
) -> int:
    files = first = 0
    form = PartFormat(info.identity, info.vector_dtype, info.metadata)
    for part in info.parts:
        files += 2 if part.rejects_name else 1
        try:
            _check_part(paths, part, form, live_mask(dead, first, first + part.rows), seen)
            if part.rejects_name:
                url = filesystem.join(paths.rejects, part.rejects_name)
                check_file(
                    url, filesystem.size(url) if filesystem.exists(url) else 0, part.rejects_sha256
                )
        except Damaged as error:
            problems.append(str(error))
        first += part.rows
    if info.index is not None:
        with tempfile.TemporaryDirectory() as cache:
            index = SegmentIndex(paths, info.index, info.identity.dim, FileCache(Path(cache)))
            files += len(list(info.index.files))
            for shard in info.index.shards:
                try:
                    index.open(shard)
                except Damaged as error:
                    problems.append(str(error))
            if (trained := info.index.trained) is not None:
                try:
                    url = filesystem.join(paths.index, trained.name)
                    check_file(url, trained.bytes, trained.sha256, INDEX_REMEDY)
                except Damaged as error:
                    problems.append(str(error))
        indexed = sum(shard.rows for shard in info.index.shards)
        if indexed != info.rows:
            problems.append(
                f"segment {info.name}: its index has {indexed} rows, its parts {info.rows}; "
                f"{INDEX_REMEDY}"
            )
    if info.lexical is not None:
        files += len(list(info.lexical.files))
        problems += _lexical_problems(paths, info, info.lexical)
    return files


def _lexical_problems(paths: SegmentPaths, info: SegmentInfo, lexical: LexicalInfo) -> list[str]:
    problems = []
    if lexical.rows != info.rows:
        problems.append(
            f"segment {info.name}: its lexical index has {lexical.rows} rows, its parts "
            f"{info.rows}; {LEXICAL_REMEDY}"
        )
    for file in lexical.files:
        try:
            url = filesystem.join(paths.lexical, file.name)
            check_file(url, file.bytes, file.sha256, LEXICAL_REMEDY)
        except Damaged as error:
            problems.append(str(error))
    if not problems:
        with tempfile.TemporaryDirectory() as cache:
            try:
                open_lexical(paths.store, [info], FileCache(Path(cache)))
            except Damaged as error:
                problems.append(f"segment {info.name}: {error}")
    return problems


def _check_part(
    paths: SegmentPaths,
    part: PartInfo,
    form: PartFormat,
    live: npt.NDArray[np.bool_],
    seen: set[str],
) -> None:
    url = filesystem.join(paths.vectors, part.name)
    check_file(url, part.bytes, part.sha256)
    file = open_part(paths, part)
    schema: pa.Schema = file.schema_arrow
    if not schema.equals(form.schema):
        raise Damaged(
            f"{url} has columns {schema.names}, and {form.schema.names} were expected; restore it, "
            "or embed again into a new store"
        )
    identity = json.loads((schema.metadata or {}).get(MODEL_KEY, b"null"))
    if identity != form.identity.to_dict():
        raise Damaged(
            f"{url} was made by model {identity}, and the manifest says otherwise; restore it, or "
            "embed again into a new store"
        )
    table = file.read(columns=["document_id", "passage"])
    documents = set(pc.unique(table.column("document_id").filter(pa.array(live))).to_pylist())
    twice = sorted(documents & seen)
    if twice:
        raise Damaged(
            f"{url}: {len(twice)} documents are in another part too, {twice[0]!r} among them; "
            "embed again into a new store"
        )
    seen |= documents
    pairs = table.group_by(["document_id", "passage"]).aggregate([])
    if pairs.num_rows != table.num_rows:
        raise Damaged(f"{url} has a passage of a document twice; embed again into a new store")
