"""``albeam doctor``: parsed arguments to options."""

from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import print_json


def run_doctor(arguments: Any) -> None:
    """Run ``albeam doctor``."""
    from pipeline.runners.doctor import check_works, run

    pass
    from transforms.models.options import ModelOptions

    found = run(arguments.runner, arguments.beam_args, ModelOptions(arguments.model))
    print_diagnosis(found, arguments.json)
    check_works(found)


def print_diagnosis(found: Any, as_json: bool) -> None:
    """A `Diagnosis`: a line for each thing, with what to do where it is missing."""
    if as_json:
        print_json(asdict(found))
        return
    wide = max(len(each.name) for each in found.findings)
    for each in found.findings:
        missing = "MISSING" if each.needed else "not here"
        said = each.found or f"{missing}: {each.remedy}"
        print(f"{each.name:<{wide}}  {said}")
