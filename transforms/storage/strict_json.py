"""JSON that means one thing: no key twice in an object, and no values nested without a bound."""

import json
import re
from typing import Any

#: The most levels of arrays and objects; albeam writes fewer than ten.
MOST_LEVELS = 64
_ALL_BUT_SIGNS = bytes(set(range(256)) - set(b'[]{}":'))
_TEXT = re.compile(rb'"[^"]*"')


def loads(content: bytes) -> Any:
    """Return the value of JSON.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has a key twice in an object, of which
            readers of other languages take one or the other.
    """
    signs = _signs(content)
    # No copy of a value is taken before its depth is known.
    if _is_deep(signs.replace(b":", b"")):
        raise ValueError(f"its values are nested more than {MOST_LEVELS} times")
    keys = 0

    def count(value: dict[str, Any]) -> dict[str, Any]:
        nonlocal keys
        keys += len(value)
        return value

    try:
        value = json.loads(content, object_hook=count)
        if keys != signs.count(b":"):
            # This takes several times as long.
            json.loads(content, object_pairs_hook=_refuse_twins)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error
    return value


def _signs(content: bytes) -> bytes:
    """Return the brackets and colons of JSON that are outside of texts."""
    if b"\\" in content:
        content = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    signs = content.translate(None, _ALL_BUT_SIGNS)
    return _TEXT.sub(b"", signs.replace(b'""', b""))


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"an object has the key {name!r} twice")


def _is_deep(signs: bytes) -> bool:
    """Return whether brackets are nested too deeply; False if they don't fit."""
    for _ in range(MOST_LEVELS):
        if not signs:
            return False
        inner = signs.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) == len(signs):
            return False
        signs = inner
    return bool(signs)
