"""Commands of albeam in the process of the test."""

import json
from typing import Any

import pytest

from pipeline.cli import main


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Run a command with ``--json``, and return the value that it prints."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)
