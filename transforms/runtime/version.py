"""The version of albeam; a job's launcher and its workers must have the same."""

import platform
from importlib.metadata import PackageNotFoundError, version

from transforms.errors import BadInput


def installed_version() -> str:
    """Return the installed version of albeam, or ``unknown``."""
    try:
        return version("albeam")
    except PackageNotFoundError:
        return "unknown"


def check_version(sender: str) -> None:
    """Raise BadInput if another version of albeam sent the job."""
    here = installed_version()
    if here != sender:
        raise BadInput(
            "worker",
            platform.node(),
            f"has albeam {here}, but albeam {sender} sent the job",
            f"Install albeam {sender} on every worker, or send the job with albeam {here}",
        )
