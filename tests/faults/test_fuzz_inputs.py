"""Changed Parquet files: `make faults` tries many more."""

from pathlib import Path

import pytest

from tests.faults.fuzz_inputs import CHECKS, run, sound_files


def test_changed_files_give_all_rows_or_an_error() -> None:
    results, faults = run(0, 0, 100)
    assert faults == []
    assert sum(results.values()) == 100 * len(CHECKS)
    for check in CHECKS:
        assert results[f"{check} read"]
        assert results[f"{check} refused"]


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_changed_is_sound_before(tmp_path: Path, check: str) -> None:
    *plain, encrypted = sound_files()
    for number, content in enumerate(plain):
        path = tmp_path / f"b-{number}.parquet"
        path.write_bytes(content)
        assert CHECKS[check](path, tmp_path) == "read"
    path.write_bytes(encrypted)
    # The encrypted column is none of those that a watch reads here.
    assert CHECKS[check](path, tmp_path) == ("read" if check == "watch" else "refused")
