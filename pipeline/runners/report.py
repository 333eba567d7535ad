"""Output of ``albeam doctor``."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.command_line.console import print_json, print_pairs

if TYPE_CHECKING:
    from pipeline.runners.doctor import Diagnosis


def print_diagnosis(diagnosis: "Diagnosis", as_json: bool) -> None:
    """Print one line per finding, with the remedy if something is missing."""
    if as_json:
        print_json(asdict(diagnosis))
        return
    rows = []
    for finding in diagnosis.findings:
        missing = "MISSING" if finding.needed else "not installed"
        rows.append((finding.name, finding.found or f"{missing}: {finding.remedy}"))
    print_pairs(rows)
