"""Output files of commands: checked before the work starts, and written atomically."""

import os
from contextlib import AbstractContextManager

from transforms.errors import BadInput
from transforms.storage import filesystem, urls


def check_writable(option: str, url: str, suffix: str) -> None:
    """Raise BadInput if a file ``url`` can't be written; ``option`` is the option that names it."""
    if not url.endswith(suffix):
        raise BadInput(option, url, f"does not end in {suffix}", f"Give a {suffix} file")
    if urls.is_chain(url):
        problem = "is a chain of URLs, to which nothing can be written"
        raise BadInput(option, url, problem, "Give a local file, or the URL of one filesystem")
    if not filesystem.is_local(url):
        filesystem.open_filesystem(url)
        return
    path = filesystem.local_path(filesystem.absolute(url))
    if os.path.isdir(path):
        raise BadInput(option, url, "is a folder", "Give the name of a file")
    folder = os.path.dirname(path)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        problem = f"can't be written: {folder!r} is not a folder that can be written to"
        raise BadInput(option, url, problem, "Give a file in another folder")


def writing(url: str) -> AbstractContextManager[str]:
    """Yield a local path to write to; the file appears at ``url`` if the block succeeds."""
    folder, _, name = filesystem.absolute(url).rpartition("/")
    return filesystem.put_atomically(folder or "/", lambda _: name)


def write_text(url: str, text: str) -> None:
    """Write a UTF-8 text file."""
    with writing(url) as path, open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
