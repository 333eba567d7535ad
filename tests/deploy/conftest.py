"""The fixtures of trainings."""

from tests.support.training import distilled, teacher

__all__ = ["distilled", "teacher"]
