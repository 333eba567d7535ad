"""``albeam doctor``: from parsed arguments to options."""

from typing import Any


def run_doctor(arguments: Any) -> None:
    """Run ``albeam doctor``."""
    from pipeline.runners.doctor import check_works, run
    from pipeline.runners.report import print_diagnosis
    from transforms.models.options import ModelOptions

    diagnosis = run(arguments.runner, arguments.beam_args, ModelOptions(arguments.model))
    print_diagnosis(diagnosis, arguments.json)
    check_works(diagnosis)
