"""Whether the files that manifests name stand, before a resume, a commit or a removal relies on it.

Listings may be old, so that what one lacks is looked for by its name.
"""

import logging
from collections.abc import Iterable

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.segment import PartInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot, read_segment, was_committed
from transforms.errors import Conflict, Damaged
from transforms.storage import filesystem
from transforms.storage.file_cache import check_file

_LOGGER = logging.getLogger(__name__)


def needed_files(store: str, ref: SegmentRef) -> dict[str, int | None]:
    """The paths in the store of all files that a segment is made of, and their sizes where known.

    Raises:
        Damaged: its manifest can't be read.
    """
    root = SegmentPaths("", ref.name)
    info = read_segment(store, ref)
    # The plan and the changes are history: nothing that is read needs them.
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
    """The URLs of files of segments that are not there, or have another size than they should.

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
            if not _stands(url, size):
                wrong.append(url)
    return wrong


def _stands(url: str, size: int | None) -> bool:
    """Whether there is a file, and of that size where one is known."""
    if size is None:
        return filesystem.exists(url)
    try:
        return filesystem.size(url) == size
    except FileNotFoundError:
        return False


def check_standing(store: str, ref: SegmentRef) -> None:
    """Keep a segment that is about to become live from a vacuum, and see that all of it stands.

    Raises:
        Conflict: a vacuum has taken some of it, or is at it.
    """
    SegmentPaths(store, ref.name).claim()
    try:
        wrong = missing_files(store, [ref])
    except Damaged as error:
        raise Conflict(f"{error}; a vacuum was faster: run again") from error
    if wrong:
        raise Conflict(
            f"{wrong[0]} is gone, and {len(wrong) - 1} files beside it: a vacuum took what this "
            "run was about to make live; nothing was changed: run again, and give vacuum a longer "
            "--older-than"
        )


def check_whole(store: str, snapshot: Snapshot, remedy: str) -> None:
    """Raise Damaged where a file of a snapshot is missing; ``remedy`` says what to do."""
    wrong = missing_files(store, snapshot.segments)
    if wrong:
        raise Damaged(
            f"snapshot {snapshot.number} lacks {wrong[0]} and {len(wrong) - 1} other files, or "
            f"they are cut short; {remedy}"
        )


def sound_parts(paths: SegmentPaths) -> set[int]:
    """The numbers of a segment's parts that are done and as their markers say.

    What stands broken is removed, so that it is done again. Digests are compared where the store is
    local, and sizes alone where it would have to be fetched.

    Raises:
        Damaged: a part is broken that a snapshot needs.
    """

    def damage(number: int) -> str | None:
        """None for a sound part, and nothing to say of one whose marker went meanwhile."""
        try:
            part = paths.read_marker(number)
            if part is None:
                return ""
            _check_part(paths, part)
        except Damaged as error:
            return str(error)
        return None

    numbers = sorted(paths.done_parts())
    found = dict(zip(numbers, filesystem.in_threads(damage, numbers), strict=True))
    broken = {number: said for number, said in found.items() if said}
    if broken and was_committed(paths.store, paths.name):
        raise Damaged(
            f"{next(iter(broken.values()))}; a snapshot of the store needs that part, so that it "
            "is not written anew in its place: restore the file, or let albeam vacuum remove the "
            "snapshots that have it; albeam embed --no-resume works beside it"
        )
    for number, said in broken.items():
        _LOGGER.warning("part %d is done again: %s", number, said)
        _drop(paths, number)
    return {number for number, said in found.items() if said is None}


def _check_part(paths: SegmentPaths, part: PartInfo) -> None:
    url = filesystem.join(paths.vectors, part.name)
    rejects = filesystem.join(paths.rejects, part.rejects_name) if part.rejects_name else ""
    if filesystem.is_local(paths.store):
        check_file(url, part.bytes, part.sha256)
        if rejects:
            size = filesystem.size(rejects) if filesystem.exists(rejects) else 0
            check_file(rejects, size, part.rejects_sha256)
        return
    if not _stands(url, part.bytes) or (rejects and not _stands(rejects, None)):
        raise Damaged(f"{url} is missing or cut short")


def _drop(paths: SegmentPaths, number: int) -> None:
    """Remove a part, its marker first; and the manifest that names it, which is not live yet."""
    for url in (paths.manifest, paths.marker(number)):
        if filesystem.exists(url):
            filesystem.remove(url)
    for folder in (paths.vectors, paths.rejects):
        for name in filesystem.list_names(folder):
            if name.startswith(f"part-{number:05d}-"):
                filesystem.remove(filesystem.join(folder, name))
