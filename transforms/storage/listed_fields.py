"""What a listing of fsspec tells of a file: its version, and when it was written."""

import datetime
import time
from typing import Any

#: The fields of listings that change with a file's content, the surest first.
_VERSIONS = (
    *("ETag", "etag", "generation", "mtime", "LastModified", "updated", "created"),
    *("CRC", "sha", "Content-MD5", "Last-Modified", "modify", "last_write_time"),
)


def version_of(info: dict[str, Any]) -> str:
    """Return a version that changes with a file's content, from its listing; "" if unknown."""
    for key in _VERSIONS:
        if info.get(key) is not None:
            return f"{key}={info[key]}"
    return ""


def modified_time(info: dict[str, Any]) -> float:
    """Return seconds since the epoch, from the field that the filesystem fills; else now."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()
