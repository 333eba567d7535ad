"""Fixtures of the tests of tasks."""

from tests.support.training import teacher

__all__ = ["teacher"]
