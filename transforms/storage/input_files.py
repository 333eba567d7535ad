"""List the input files that paths, folders and globs name."""

from typing import Any

from transforms.errors import BadInput
from transforms.storage.exclusive_create import is_local_fs
from transforms.storage.filesystem import FileInfo, open_filesystem, retry, version_of


def list_inputs(
    patterns: tuple[str, ...], suffix: str = ".parquet", empty: bool = False
) -> list[FileInfo]:
    """The files that paths, folders and globs name, each once, ordered by URL.

    A folder gives every file below it that ends in ``suffix``; names that start with ``_`` or ``.``
    are left out there, as Spark and Hive do.

    Raises:
        BadInput: a pattern matches no file, unless it may be ``empty``.
    """
    found: dict[str, FileInfo] = {}
    for pattern in patterns:
        fs, path = open_filesystem(pattern)
        matches = retry(lambda fs=fs, path=path: _match(fs, path, suffix))  # type: ignore[misc]
        if not matches and not empty:
            raise BadInput(
                f"input {pattern!r} matches no file; "
                f"name a {suffix} file, a folder of them, or a glob in quotes"
            )
        for info in matches:
            name = fs.unstrip_protocol(info["name"]) if not is_local_fs(fs) else info["name"]
            found[name] = FileInfo(name, int(info["size"] or 0), version_of(info))
    return [found[url] for url in sorted(found)]


def check_unchanged(file: FileInfo) -> None:
    """Raise BadInput where an input file is not what it was when it was listed."""
    fs, path = open_filesystem(file.url)
    try:
        info = retry(lambda: fs.info(path))
    except FileNotFoundError as error:
        raise BadInput(
            f"input {file.url!r} was removed while this run worked; restore it and run again"
        ) from error
    if _same(info, file):
        return
    # A listing and a look at one file may say different things of the same version.
    listed = retry(lambda: fs.ls(fs._parent(path), detail=True))
    if not any(each["name"] == info["name"] and _same(each, file) for each in listed):
        raise BadInput(
            f"input {file.url!r} was changed while this run worked; run again, and it is read "
            "and compared anew: write changed data under a new name, or while no run reads it"
        )


def _same(info: dict[str, Any], file: FileInfo) -> bool:
    return (int(info["size"] or 0), version_of(info)) == (file.size, file.version)


def _match(fs: Any, path: str, suffix: str) -> list[dict[str, Any]]:
    if any(letter in path for letter in "*?[") and not fs.exists(path):
        return [i for i in fs.glob(path, detail=True).values() if i["type"] == "file"]
    if not fs.exists(path):
        return []
    if fs.isfile(path):
        return [fs.info(path)]
    root = path.rstrip("/")
    return [
        info
        for name, info in fs.find(path, detail=True).items()
        if name.endswith(suffix) and not _is_hidden(name[len(root) :])
    ]


def _is_hidden(relative: str) -> bool:
    return any(segment.startswith(("_", ".")) for segment in relative.split("/"))
