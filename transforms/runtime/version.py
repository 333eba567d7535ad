"""Which albeam this is: a job's sender and its workers must have the same."""

import platform
from importlib.metadata import PackageNotFoundError, version

from transforms.errors import BadInput


def installed_version() -> str:
    """The version of albeam that is installed here, or ``unknown``."""
    try:
        return version("albeam")
    except PackageNotFoundError:
        return "unknown"


def check_version(sender: str) -> None:
    """Raise BadInput where the job was sent by another albeam than the one that is here."""
    here = installed_version()
    if here != sender:
        raise BadInput(
            f"the worker on {platform.node()} has albeam {here}, and the job was sent by albeam "
            f"{sender}; install albeam {sender} on every worker, or send the job with {here}"
        )
