"""JSON that means one thing: no key twice in an object, and no values nested without a bound."""

import json
import re
from typing import Any

#: The most levels of arrays and objects; albeam writes fewer than ten.
MOST_LEVELS = 64
_ALL_BUT_SIGNS = bytes(set(range(256)) - set(b'[]{}"'))
_TEXT = re.compile(rb'"[^"]*"')


def loads(content: bytes) -> Any:
    """Return the value of JSON.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has a key twice in an object, of which
            readers of other languages take one or the other.
    """
    # No copy of a value is taken before its depth is known.
    if _is_deep(content):
        raise ValueError(f"its values are nested more than {MOST_LEVELS} times")
    try:
        return json.loads(content, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r} twice")
    return value


def _is_deep(content: bytes) -> bool:
    """Return whether brackets outside of texts are nested too deeply; False if they don't fit."""
    signs = content.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _ALL_BUT_SIGNS)
    signs = _TEXT.sub(b"", signs)
    for _ in range(MOST_LEVELS):
        if not signs:
            return False
        inner = signs.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) == len(signs):
            return False
        signs = inner
    return bool(signs)
