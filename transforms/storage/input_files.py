"""List and check the input files of a command."""

from collections.abc import Iterable
from typing import Any

from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.filesystem import FileInfo
from transforms.storage.globs import covers
from transforms.storage.listed_fields import version_of
from transforms.storage.listing import SUFFIX, Listing, Rule, list_patterns
from transforms.storage.retries import retry
from transforms.storage.trees import local_file


def list_inputs(
    patterns: tuple[str, ...], suffix: str = SUFFIX, empty: bool = False
) -> list[FileInfo]:
    """Return the files of `find_inputs`; with ``empty``, a pattern may match no file."""
    if empty:
        return list(list_patterns(patterns, Rule(suffix))[0].files)
    return list(find_inputs(patterns, suffix=suffix).files)


def find_inputs(patterns: tuple[str, ...], store: str = "", suffix: str = SUFFIX) -> Listing:
    """Return the files of paths, folders and globs, by the rule of `transforms.storage.listing`.

    Args:
        patterns: paths, folders and globs.
        store: the store that the input is for, which is no part of the input.
        suffix: the end of the names of a folder's files.

    Raises:
        BadInput: a pattern matches no file, or can't be listed.
    """
    listing, unmatched = list_patterns(patterns, Rule(suffix, store))
    if unmatched or not listing.files:
        left_out = ", ".join(f"{count} {reason}" for reason, count in listing.left_out.items())
        raise BadInput(
            "input",
            (unmatched or patterns)[0],
            "matches no file" + (f" (left out: {left_out})" if left_out else ""),
            f"Give a {suffix} file, a folder of them, or a glob in quotes",
        )
    return listing


def poll_inputs(patterns: tuple[str, ...], store: str) -> Listing:
    """Return the files of `find_inputs`; what can't be listed yet is left out."""
    return list_patterns(patterns, Rule(store=store, strict=False))[0]


def unlisted(patterns: tuple[str, ...], listing: Listing, known: Iterable[str]) -> list[str]:
    """Return which known files patterns mean, are still there, and are left out by some rule.

    Args:
        patterns: the patterns that were listed.
        listing: their files.
        known: URLs of files that an earlier listing gave.
    """
    listed = {file.url for file in listing.files}
    places = [_place(filesystem.absolute(pattern)) for pattern in patterns]
    found = []
    for url in sorted(set(known) - listed):
        protocol, path = _place(url)
        meant = any(protocol == kind and covers(glob, path, SUFFIX) for kind, glob in places)
        if meant and filesystem.exists(url):
            found.append(url)
    return found


def _place(url: str) -> tuple[str, str]:
    """Return the protocol of a URL, "" for a local one, and the path in its filesystem."""
    path = str(filesystem.open_filesystem(url)[1])
    return "" if filesystem.is_local(url) else url.partition("://")[0], path


def check_unchanged(file: FileInfo) -> None:
    """Raise BadInput if an input file was changed or removed since it was listed."""
    if filesystem.is_local(file.url):
        found = local_file(filesystem.local_path(file.url))
        if found is None:
            raise _removed(file)
        if (found.size, found.version) != (file.size, file.version):
            raise _changed(file)
        return
    fs, path = filesystem.open_filesystem(file.url)
    try:
        info = retry(lambda: fs.info(path))
    except FileNotFoundError as error:
        raise _removed(file) from error
    if _same(info, file):
        return
    # A listing and a request for one file may report the same version differently.
    listed = retry(lambda: fs.ls(fs._parent(path), detail=True))
    if not any(each["name"] == info["name"] and _same(each, file) for each in listed):
        raise _changed(file)


def _same(info: dict[str, Any], file: FileInfo) -> bool:
    return (int(info["size"] or 0), version_of(info)) == (file.size, file.version)


def _removed(file: FileInfo) -> BadInput:
    return BadInput("input", file.url, "was removed during this run", "Restore it and run again")


def _changed(file: FileInfo) -> BadInput:
    return BadInput(
        "input",
        file.url,
        "was changed during this run",
        "Run again; write changed data under a new name, or while no run reads it",
    )
