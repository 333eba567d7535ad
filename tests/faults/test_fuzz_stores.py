"""Changed files of stores: `make fuzz` tries many more."""

import shutil
from pathlib import Path

import pytest

from tests.faults.fuzz_harness import CLEAR, SAME, in_child, run
from tests.faults.fuzz_stores import base, fuzzer, use


def test_changed_stores_give_the_same_or_a_clear_error() -> None:
    results = run(fuzzer(), 7, range(12))
    assert results.faults == []
    assert results.counts[CLEAR]


def test_the_unchanged_store_gives_the_same(tmp_path: Path) -> None:
    shutil.copytree(base()[0], tmp_path / "store")
    assert in_child(lambda: use(tmp_path, "accident: nothing")) == SAME


@pytest.mark.slow
def test_more_changed_stores() -> None:
    # Among them is a lexical index in which only filters came upon the damage.
    assert run(fuzzer(), 49, range(140, 200)).faults == []
