"""How long the stages of a search take."""

from itertools import count

import pytest

from transforms.search import timing
from transforms.search.timing import Stages, percentiles, timed


def test_a_stage_that_is_met_twice_counts_once_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    searches = []
    for rounds in (1, 3):
        one = Stages()
        with one.timed("total"):
            for _ in range(rounds):
                with one.timed("dense"):
                    pass
            with timed(one if rounds > 1 else None, "read"):
                pass
        searches.append(one)
    assert [each.seconds["dense"] for each in searches] == [1.0, 3.0]
    found = percentiles(searches)
    assert list(found) == ["dense", "total", "read"]
    assert found["dense"]["p50"] == 2_000
    # One of the searches did not read.
    assert found["read"]["p50"] == 500
    assert percentiles([]) == {}
