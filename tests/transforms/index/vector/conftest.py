"""Fixtures of the tests of vector indexes."""

import pytest

from tests.transforms.index.vector.stores import ROWS, shards_of


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a third of a segment, so that there are three."""
    shards_of(monkeypatch, ROWS // 3)
