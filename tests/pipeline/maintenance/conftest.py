"""The fixtures of commands on vector indexes."""

from tests.transforms.index.vector.conftest import small_shards

__all__ = ["small_shards"]
