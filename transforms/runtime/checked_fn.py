"""The base of the steps of all jobs: a worker with another version of albeam does no work."""

import apache_beam as beam

from transforms.runtime.version import check_version, installed_version


class CheckedFn(beam.DoFn):
    """A step that compares the worker's version of albeam with the launcher's when it starts.

    A subclass that overrides ``__init__`` or ``setup`` calls this one first.
    """

    def __init__(self) -> None:
        """Remember the version of this process, which launches the job."""
        super().__init__()
        self._launcher = installed_version()

    def setup(self) -> None:
        """Raise BadInput if this process has another version than the launcher."""
        check_version(self._launcher)
