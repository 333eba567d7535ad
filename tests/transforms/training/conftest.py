"""The fixtures of trainings."""

from tests.support.training import distilled, one_thread, options, teacher

__all__ = ["distilled", "one_thread", "options", "teacher"]
