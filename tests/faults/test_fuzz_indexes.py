"""Changed index files: `make fuzz` tries many more, of every kind of index."""

from tests.faults.fuzz_harness import CLEAR, SAME, run
from tests.faults.fuzz_indexes import fuzzer


def test_changed_indexes_are_errors_or_answer_as_before() -> None:
    results = run(fuzzer(("HNSW4", "IVF4,SQ8", "RR8,IVF4,PQ4x4fsr")), 1, range(30))
    assert not results.faults, str(results)
    assert results.counts[CLEAR] > results.counts[SAME] > 0
