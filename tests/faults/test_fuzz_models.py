"""Changed model folders: `make fuzz` tries many more, of every kind."""

from tests.faults.fuzz_harness import CLEAR, SAME, run
from tests.faults.fuzz_models import fuzzer


def test_changed_models_are_errors_or_load() -> None:
    results = run(fuzzer(("albert", "rank")), 1, range(40))
    assert not results.faults, str(results)
    assert results.counts[CLEAR] > results.counts[SAME] > 0
