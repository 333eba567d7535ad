"""JSON with a key twice or nested without a bound is refused before it is used."""

import json
from typing import Any

import pytest

from transforms.storage.strict_json import MOST_LEVELS, loads


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "}{][",
        {'a"}': ['\\"[', "\\\\", {"b": None}], "c": [[], {}, "[" * 100]},
        [[[1.5, "\u00e9", True]]] * 3,
    ],
)
def test_what_json_writes_is_read(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("twice", ['{"a": 1, "a": 2}', '[{"b": {"\\u0061": 1, "a": 1}}]'])
def test_a_key_that_is_there_twice_is_refused(twice: str) -> None:
    with pytest.raises(ValueError, match="'a' twice"):
        loads(twice.encode())


@pytest.mark.parametrize("opened", ["[", '{"a":'])
@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 900, 100_000])
def test_what_is_nested_deeply_is_refused(opened: str, levels: int) -> None:
    closed = {"[": "]", '{"a":': "}"}[opened]
    with pytest.raises(ValueError, match="nested"):
        loads((opened * levels + "1" + closed * levels).encode())
    with pytest.raises(ValueError):  # noqa: PT011
        loads((opened * levels).encode())


def test_the_most_levels_are_read() -> None:
    assert loads(b"[" * MOST_LEVELS + b"]" * MOST_LEVELS) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"}", b"{]", b'{"a": "', b"\xff", b'{"a" 1}'])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        loads(content)
