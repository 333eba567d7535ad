"""List and check the input files of a command."""

from typing import Any

from transforms.errors import BadInput
from transforms.storage.exclusive_create import is_local_fs
from transforms.storage.filesystem import FileInfo, open_filesystem, version_of
from transforms.storage.retries import retry


def list_inputs(
    patterns: tuple[str, ...], suffix: str = ".parquet", empty: bool = False
) -> list[FileInfo]:
    """Return the files of paths, folders and globs, each once, ordered by URL.

    A folder means all files below it that end in ``suffix``, except names that start with ``_`` or
    ``.``, as in Spark and Hive.

    Raises:
        BadInput: a pattern matches no file, and ``empty`` is false.
    """
    found: dict[str, FileInfo] = {}
    for pattern in patterns:
        fs, path = open_filesystem(pattern)
        matches = retry(lambda fs=fs, path=path: _match(fs, path, suffix))  # type: ignore[misc]
        if not matches and not empty:
            remedy = f"Give a {suffix} file, a folder of them, or a glob in quotes"
            raise BadInput("input", pattern, "matches no file", remedy)
        for info in matches:
            name = fs.unstrip_protocol(info["name"]) if not is_local_fs(fs) else info["name"]
            found[name] = FileInfo(name, int(info["size"] or 0), version_of(info))
    return [found[url] for url in sorted(found)]


def check_unchanged(file: FileInfo) -> None:
    """Raise BadInput if an input file was changed or removed since it was listed."""
    fs, path = open_filesystem(file.url)
    try:
        info = retry(lambda: fs.info(path))
    except FileNotFoundError as error:
        problem = "was removed during this run"
        raise BadInput("input", file.url, problem, "Restore it and run again") from error
    if _same(info, file):
        return
    # A listing and a request for one file may report the same version differently.
    listed = retry(lambda: fs.ls(fs._parent(path), detail=True))
    if not any(each["name"] == info["name"] and _same(each, file) for each in listed):
        raise BadInput(
            "input",
            file.url,
            "was changed during this run",
            "Run again; write changed data under a new name, or while no run reads it",
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
