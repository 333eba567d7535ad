"""Check that the files of segments exist before a resume, a commit or a removal relies on them.

Listings may be old: a file that a listing lacks is looked up by its name.
"""

import logging
from collections.abc import Iterable

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import PartInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment, was_committed
from transforms.errors import Conflict, Damaged
from transforms.storage import filesystem, remedies
from transforms.storage.file_cache import check_file
from transforms.storage.retries import in_threads

_LOGGER = logging.getLogger(__name__)


def needed_files(store: str, ref: SegmentRef) -> dict[str, int | None]:
    """Return the paths in the store of all files of a segment, with their sizes where known.

    Raises:
        Damaged: the manifest can't be read.
    """
    root = SegmentPaths("", ref.name)
    info = read_segment(store, ref)
    # No reader needs the plan and the changes.
    found: dict[str, int | None] = {root.manifest: None}
    for part in info.parts:
        found[filesystem.join(root.vectors, part.name)] = part.bytes
        found[root.marker(part.number)] = None
        if part.rejects_name:
            found[filesystem.join(root.rejects, part.rejects_name)] = None
    if info.index is not None:
        for file in info.index.files:
            found[filesystem.join(root.index, file.name)] = file.bytes
    if info.lexical is not None:
        for file in info.lexical.files:
            found[filesystem.join(root.lexical, file.name)] = file.bytes
    if ref.index is not None:
        found[filesystem.join(root.index, ref.index.name)] = ref.index.bytes
    if ref.lexical is not None:
        found[filesystem.join(root.lexical, ref.lexical.name)] = ref.lexical.bytes
    if ref.tombstones is not None:
        found[filesystem.join(root.tombstones, ref.tombstones.name)] = None
    return {path.lstrip("/"): size for path, size in found.items()}


def missing_files(store: str, refs: Iterable[SegmentRef]) -> list[str]:
    """Return the URLs of files of segments that are missing or have a wrong size.

    Raises:
        Damaged: a manifest can't be read.
    """
    wrong = []
    for ref in refs:
        folder = f"segments/{ref.name}/"
        listed = {
            folder + file.path: file.size
            for file in filesystem.list_files(SegmentPaths(store, ref.name).root)
        }
        for path, size in needed_files(store, ref).items():
            if path in listed and size in (None, listed[path]):
                continue
            url = filesystem.join(store, path)
            if not _exists(url, size):
                wrong.append(url)
    return wrong


def _exists(url: str, size: int | None) -> bool:
    """Return whether a file exists, and has the size if one is known."""
    if size is None:
        return filesystem.exists(url)
    try:
        return filesystem.size(url) == size
    except FileNotFoundError:
        return False


def claim_segment(store: str, ref: SegmentRef) -> None:
    """Protect a segment that is about to become live from a vacuum, and check its files.

    Raises:
        Conflict: a vacuum has removed files of the segment, or is removing them.
    """
    SegmentPaths(store, ref.name).claim()
    try:
        wrong = missing_files(store, [ref])
    except Damaged as error:
        problem = f"lost its manifest to a vacuum before the commit: {error}"
        raise Conflict("segment", ref.name, problem, "Run again") from error
    if wrong:
        raise Conflict(
            "segment",
            ref.name,
            f"lost {len(wrong)} files to a vacuum before the commit, among them {wrong[0]}; the "
            "store did not change",
            "Run again, and give vacuum a longer --older-than",
        )


def check_files(store: str, snapshot: Snapshot, remedy: str) -> None:
    """Raise Damaged if a file of a snapshot is missing or truncated; ``remedy`` is the advice."""
    wrong = missing_files(store, snapshot.segments)
    if wrong:
        problem = f"has {len(wrong)} missing or truncated files, among them {wrong[0]}"
        raise Damaged("snapshot", snapshot.number, problem, remedy)


def intact_parts(paths: SegmentPaths) -> set[int]:
    """Return the numbers of a segment's finished parts whose files match their markers.

    Damaged parts are removed, so that the run writes them again. Digests are compared if the store
    is local; otherwise only sizes are, because the files would have to be fetched.

    Raises:
        Damaged: a damaged part belongs to a snapshot.
    """

    def damage(number: int) -> str | None:
        """Return what is wrong with a part: None if nothing, "" if its marker was removed."""
        try:
            part = paths.read_marker(number)
            if part is None:
                return ""
            _check_part(paths, part)
        except Damaged as error:
            return str(error)
        return None

    numbers = sorted(paths.finished_parts())
    found = dict(zip(numbers, in_threads(damage, numbers), strict=True))
    broken = {number: problem for number, problem in found.items() if problem}
    if broken and was_committed(paths.store, paths.name):
        number, problem = next(iter(broken.items()))
        raise Damaged(
            "part",
            number,
            f"is damaged, and a snapshot of the store needs it: {problem}",
            "Restore the file; or remove the snapshots that have it with albeam vacuum; or write "
            "another segment with albeam embed --no-resume",
        )
    for number, problem in broken.items():
        _LOGGER.warning("part %d is damaged and is written again: %s", number, problem)
        _remove_part(paths, number)
    return {number for number, problem in found.items() if problem is None}


def _check_part(paths: SegmentPaths, part: PartInfo) -> None:
    url = filesystem.join(paths.vectors, part.name)
    rejects = filesystem.join(paths.rejects, part.rejects_name) if part.rejects_name else ""
    if filesystem.is_local(paths.store):
        check_file(url, part.bytes, part.sha256)
        if rejects:
            size = filesystem.size(rejects) if filesystem.exists(rejects) else 0
            check_file(rejects, size, part.rejects_sha256)
        return
    for file, expected in ((url, part.bytes), (rejects, None)):
        if file and not _exists(file, expected):
            raise Damaged("file", file, "is missing or truncated", remedies.EMBED_AGAIN)


def _remove_part(paths: SegmentPaths, number: int) -> None:
    """Remove a part, its marker first, and the manifest that describes it, which is not live."""
    for url in (paths.manifest, paths.marker(number)):
        if filesystem.exists(url):
            filesystem.remove(url)
    for folder in (paths.vectors, paths.rejects):
        for name in filesystem.list_names(folder):
            if name.startswith(f"part-{number:05d}-"):
                filesystem.remove(filesystem.join(folder, name))
