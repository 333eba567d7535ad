"""The public names of ``transforms``, which are loaded on first use."""

import pytest

import transforms


@pytest.mark.parametrize("name", transforms.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(transforms, name).__name__ == name
