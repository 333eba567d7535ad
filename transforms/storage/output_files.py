"""Files that a user asks a command for: looked at before any work, written whole or not at all."""

import os
from contextlib import AbstractContextManager

from transforms.errors import BadInput
from transforms.storage import filesystem


def check_writable(what: str, url: str, suffix: str) -> None:
    """Raise BadInput where there can't be a file ``url``; ``what`` is the option that named it."""
    if not url.endswith(suffix):
        raise BadInput(f"{what} {url!r} does not end in {suffix}; name such a file")
    if not filesystem.is_local(url):
        filesystem.open_filesystem(url)
        return
    path = filesystem.local_path(filesystem.absolute(url))
    if os.path.isdir(path):
        raise BadInput(f"{what} {url!r} is a folder; give a file's name")
    folder = os.path.dirname(path)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"{what} {url!r} can't be written: {folder!r} is no folder to write in")


def writing(url: str) -> AbstractContextManager[str]:
    """A local path to write to; the file stands at ``url`` when the block has ended well."""
    folder, _, name = filesystem.absolute(url).rpartition("/")
    return filesystem.put_atomically(folder or "/", lambda _: name)


def write_text(url: str, text: str) -> None:
    """Write a UTF-8 text file."""
    with writing(url) as path, open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
