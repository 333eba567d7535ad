"""Assertions about errors by their fields, so that a test does not pin their wording."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from transforms.errors import AlbeamError, Damaged

_ANY = object()


@contextmanager
def raises(
    kind: type[AlbeamError], option: str, value: Any = _ANY, problem: str = ""
) -> Iterator[pytest.ExceptionInfo[AlbeamError]]:
    """Check that the block raises an error about an option and a value.

    Args:
        kind: the class of the error.
        option: its option or thing.
        value: its value, a path as its text; by default any.
        problem: what the text of the problem contains, such as a number or a name.
    """
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.option == option
    if value is not _ANY:
        assert str(caught.value.value) == str(value)
    assert problem in caught.value.problem


@contextmanager
def finds_damage(store: Any, *named: Any, damages: int | None = None) -> Iterator[None]:
    """Check that a verification of a store raises one error that names each of these things."""
    with raises(Damaged, "store", store) as caught:
        yield
    assert caught.value.remedy
    for each in named:
        assert str(each) in caught.value.problem
    if damages is not None:
        assert caught.value.problem.startswith(f"has {damages} ")
