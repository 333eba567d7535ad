"""JSON files that hold the digest of their own content, so that a flipped bit is detected."""

import json
from typing import Any

from transforms.errors import Damaged
from transforms.storage import filesystem, remedies, strict_json

_DIGEST = "digest"


def seal(value: dict[str, Any]) -> bytes:
    """Return ``value`` as JSON with its digest: equal content gives equal bytes."""
    return json.dumps(value | {_DIGEST: _digest(value)}, sort_keys=True).encode()


def unseal(content: bytes, where: str) -> dict[str, Any]:
    """Return the value that `seal` wrote.

    Raises:
        Damaged: the content is not JSON, or differs from its digest; ``where`` names the file.
    """
    try:
        value = strict_json.loads(content)
        expected = value.pop(_DIGEST)
        found = _digest(value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"can't be read: {type(error).__name__}: {error}"
        raise Damaged("file", where, problem, remedies.NO_RESUME) from error
    if found != expected:
        problem = f"has content with digest {found}, but records {expected}"
        raise Damaged("file", where, problem, remedies.NO_RESUME)
    return dict(value)


def _digest(value: dict[str, Any]) -> str:
    return filesystem.digest(json.dumps(value, sort_keys=True).encode())
