"""Decode manifests; every failure names the file."""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa

from transforms.errors import Damaged

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


_RESTORE = "restore it from a backup, or go back with albeam rollback"


def parse(content: bytes, where: str, build: Callable[[dict[str, Any]], T]) -> T:
    """``build`` of a JSON file's value.

    Raises:
        Damaged: the content is not JSON or lacks what ``build`` takes; ``where`` names the file.
    """
    try:
        value = json.loads(content)
    except ValueError as error:
        raise Damaged(f"{where} can't be read as a manifest: {error}; {_RESTORE}") from error
    return read_value(value, where, build)


def read_value(value: Any, where: str, build: Callable[[dict[str, Any]], T]) -> T:
    """``build`` of a manifest's value; see `parse`."""
    try:
        return build(value)
    except Damaged as error:
        raise Damaged(f"{where}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise Damaged(
            f"{where} can't be read as a manifest: {type(error).__name__}: {error}; {_RESTORE}"
        ) from error


def check_name(name: str) -> str:
    """``name`` where it is a plain file name; a manifest's paths may not leave the store.

    Raises:
        Damaged: it is anything else.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Damaged(
            f"{name!r} is not a file name inside the store; the manifest was tampered with: "
            "restore it from a backup, or go back with albeam rollback"
        )
    return name
