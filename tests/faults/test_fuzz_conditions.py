"""Conditions made at random: `make fuzz` tries many more."""

import pytest

from tests.faults.fuzz_conditions import ATTACKS, fuzzer, table
from tests.faults.fuzz_harness import CLEAR, SAME, run
from transforms.errors import BadInput
from transforms.search.predicate import matching


def test_conditions_choose_the_same_rows_or_are_clear_errors() -> None:
    results = run(fuzzer(), 3, range(15))
    assert not results.faults, str(results)
    assert results.counts[CLEAR] > results.counts[SAME] > 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_no_condition_may_use_is_refused(attack: str) -> None:
    with pytest.raises(BadInput) as caught:
        matching(table(), attack.format(text="text", outside="/nowhere"))
    assert caught.value.option == "where"
    assert caught.value.remedy
