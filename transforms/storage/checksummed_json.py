"""JSON files that carry the digest of their own content, so that a flipped bit is noticed."""

import json
from typing import Any

from transforms.errors import Damaged
from transforms.storage import filesystem

_DIGEST = "digest"


def seal(value: dict[str, Any]) -> bytes:
    """``value`` as JSON, with its digest; the same bytes for the same content."""
    return json.dumps(value | {_DIGEST: _digest(value)}, sort_keys=True).encode()


def unseal(content: bytes, where: str) -> dict[str, Any]:
    """The value that `seal` wrote.

    Raises:
        Damaged: the content is not JSON, or another one than its digest says; ``where`` names the
            file.
    """
    try:
        value = json.loads(content)
        said = value.pop(_DIGEST)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(
            f"{where} can't be read: {type(error).__name__}: {error}; run again with --no-resume"
        ) from error
    found = _digest(value)
    if found != said:
        raise Damaged(
            f"{where} has content with digest {found}, and it says {said}; "
            "run again with --no-resume"
        )
    return dict(value)


def _digest(value: dict[str, Any]) -> str:
    return filesystem.digest(json.dumps(value, sort_keys=True).encode())
