"""The whole install on a CPU: what ``pip install '.[cpu]'`` brings embeds and finds."""

import json
from pathlib import Path

import pytest

from tests.support.installs import install, run
from tests.test_wheel import wheel

__all__ = ["wheel"]

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1800)
def test_a_fresh_environment_embeds_and_asks(
    wheel: Path, tmp_path: Path, albert: Path, corpus: Path
) -> None:
    programs = install(wheel, "cpu", tmp_path / "environment")
    albeam, store = str(programs / "albeam"), str(tmp_path / "store")
    model = ("--model", str(albert))
    summary = json.loads(run(albeam, "embed", str(corpus), "--store", store, *model, "--json"))
    assert summary["documents"] == 200
    assert len(json.loads(run(albeam, "search", store, "river stone", "--json"))) == 10
