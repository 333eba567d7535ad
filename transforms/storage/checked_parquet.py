"""Open a store's Parquet file after a check of its digest, which is recorded or is in its name."""

import hashlib
import re
from contextlib import ExitStack
from typing import Any

from transforms.errors import Damaged
from transforms.storage import filesystem, remedies
from transforms.storage.parquet_files import CheckedFile, reading

#: The end of a name that `filesystem.put_by_content` gives.
_BY_CONTENT = re.compile(r".*-([0-9a-f]{16})\.parquet", re.DOTALL)


def open_checked(url: str, sha256: str, remedy: str = remedies.EMBED_AGAIN) -> Any:
    """Open a Parquet file whose SHA-256 is known, or begins with known digits.

    Raises:
        Damaged: the file is missing or differs from its digest.
    """
    with reading(url), ExitStack() as stack:
        source = stack.enter_context(filesystem.open_input(url))
        found = hashlib.file_digest(source, "sha256").hexdigest()
        if not sha256 or not found.startswith(sha256):
            problem = f"has SHA-256 {found}, but {sha256} is recorded"
            raise Damaged("file", url, problem, remedy)
        source.seek(0)
        file = CheckedFile(source)
        stack.pop_all()
    return file


def open_by_name(url: str, remedy: str = remedies.NO_RESUME) -> Any:
    """Open a Parquet file whose name ends with the start of its digest."""
    named = _BY_CONTENT.fullmatch(url)
    if named is None:
        raise Damaged("file", url, "has no digest in its name", remedy)
    return open_checked(url, named[1], remedy)
