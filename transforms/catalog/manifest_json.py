"""Decode the store's JSON files into dataclasses; every failure names the file.

A store may come from someone else, with digests that fit. So no value is trusted: types, ranges
and names are checked here, and how values agree in `transforms.catalog.agreement`.
"""

import functools
import math
import re
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import pyarrow as pa

from transforms.errors import Damaged
from transforms.storage import remedies, strict_json

T = TypeVar("T")
#: A number of rows, bytes or the like; sums of many of them fit 64 bits.
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
#: A number that a library in C takes as an int.
SmallCount = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
#: Values of these types need no further check.
_CHECKED = frozenset({str, int, bool, dict, type(None)})
#: What json, msgspec, pyarrow and the checks below raise for hostile content.
_FAILURES = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RecursionError, OSError, pa.ArrowException),
)


def load(content: bytes, where: str) -> Any:
    """Return the value of a JSON file.

    Raises:
        Damaged: the content is not JSON, or has a key twice; ``where`` names the file.
    """
    try:
        return strict_json.loads(content)
    except ValueError as error:
        problem = f"can't be read as JSON: {error}"
        raise Damaged("file", where, problem, remedies.ROLL_BACK) from error


def convert(value: Any, kind: type[T], where: str, remedy: str = remedies.ROLL_BACK) -> T:
    """Return a JSON value as the dataclass ``kind``.

    Raises:
        Damaged: a key is missing or unknown, a value has another type, a number is not finite, or
            the dataclass refuses a value; ``where`` names the file.
    """
    try:
        made = msgspec.convert(value, kind, dec_hook=_decode_other)
        _check(value, made)
    except Damaged as error:
        problem = f"has {error.option} {error.value!r}, which {error.problem}"
        raise Damaged("file", where, problem, error.remedy) from error
    except _FAILURES as error:
        problem = f"can't be decoded as {kind.__name__.lstrip('_')}: {error}"
        raise Damaged("file", where, problem, remedy) from error
    return made


def decode(content: bytes, kind: type[T], where: str) -> T:
    """Return the content of a JSON file as the dataclass ``kind``; see `load` and `convert`."""
    return convert(load(content, where), kind, where)


def check_name(name: str) -> str:
    """Return ``name`` if it is a plain file name: a manifest's paths may not leave the store.

    Raises:
        Damaged: the name is anything else.
    """
    if not _NAME.fullmatch(name):
        raise Damaged(
            "file name",
            name,
            "is not a name inside the store: the file was tampered with",
            remedies.ROLL_BACK,
        )
    return name


def encode_schema(schema: pa.Schema) -> str:
    """Return an Arrow schema as the hexadecimal text that manifests hold."""
    return str(schema.serialize().to_pybytes().hex())


def _decode_other(kind: type, value: Any) -> Any:
    """Decode the only type in manifests that is not JSON's own."""
    if kind is pa.Schema:
        return pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(value)))
    raise NotImplementedError(kind)


def _check(value: Any, made: Any) -> None:
    """Raise ValueError for unknown keys and infinite numbers, which msgspec accepts."""
    kind: Any = type(made)
    if (names := _fields_of(kind)) is not None:
        known, further = names
        if not value.keys() <= known:
            unknown = sorted(value.keys() - known)
            raise ValueError(f"{kind.__name__} has unknown keys {unknown}")
        for name in further:
            if name in value:
                _check(value[name], getattr(made, name))
    elif isinstance(made, float):
        if not math.isfinite(made):
            raise ValueError(f"{made} is not a finite number")
    elif isinstance(made, tuple):
        # Defaults of a named tuple have no value in the file.
        for each, part in zip(value, made, strict=False):
            if type(part) not in _CHECKED:
                _check(each, part)


@functools.cache
def _fields_of(kind: type) -> tuple[frozenset[str], tuple[str, ...]] | None:
    """Return the names of a dataclass's fields, and of those whose values `_check` must see.

    Of another type, return None.
    """
    if not is_dataclass(kind):
        return None
    hints = get_type_hints(kind)
    names = frozenset(field.name for field in fields(kind))
    return names, tuple(name for name in names if not _is_plain(hints[name]))


def _is_plain(hint: Any) -> bool:
    return (
        hint in _CHECKED
        or get_origin(hint) is dict
        or (get_origin(hint) in (Union, UnionType) and all(map(_is_plain, get_args(hint))))
    )
