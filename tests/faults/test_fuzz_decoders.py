"""Decoders with changed content: `make fuzz` tries much more of it."""

from pathlib import Path

import pytest

from tests.faults.fuzz_decoders import DECODERS, fuzzer, sound
from tests.faults.fuzz_harness import CHANGED, CLEAR, run


def test_changed_content_is_decoded_or_a_clear_error() -> None:
    results = run(fuzzer(), 1, range(60))
    assert not results.faults, str(results)
    assert results.counts[CLEAR] > results.counts[CHANGED] > 0


@pytest.mark.parametrize("kind", DECODERS)
def test_sound_content_is_decoded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "content"
    path.write_bytes(sound()[kind])
    DECODERS[kind](path)
