"""Unfinished work in stores: `make fuzz` tries many more changes of it."""

from tests.faults.fuzz_harness import CLEAR, SAME, run
from tests.faults.fuzz_writers import fuzzer


def test_changed_work_is_refused_or_stays_inside_the_store() -> None:
    results = run(fuzzer(), 1, range(25))
    assert not results.faults, str(results)
    assert results.counts[CLEAR]
    assert results.counts[SAME]
