"""Every step of every job compares the worker's version with the launcher's."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

import transforms
from transforms.errors import BadInput
from transforms.ingest import worker_check
from transforms.runtime.checked_fn import CheckedFn
from transforms.runtime.version import installed_version

#: Compares the versions when it is asked to: that is its job.
_ITS_JOB = worker_check._CheckFn


def steps() -> list[type[beam.DoFn]]:
    """Return the functions of all jobs."""
    root = Path(transforms.__file__).parent
    for path in root.rglob("*.py"):
        if "beam" in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
            importlib.import_module(name)
    return [each for each in subclasses(beam.DoFn) if each.__module__.startswith("transforms.")]


def subclasses(kind: type[beam.DoFn]) -> Iterator[type[beam.DoFn]]:
    """Yield all subclasses of a class."""
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_step_refuses_the_job_of_another_version() -> None:
    found = [each for each in steps() if each not in (_ITS_JOB, CheckedFn)]
    assert len(found) > 20
    for step in found:
        assert issubclass(step, CheckedFn), step
        # As on a worker: unpickled with what the launcher remembered.
        sent = step.__new__(step)
        sent._launcher = "0.0.1"
        with pytest.raises(BadInput) as caught:
            sent.setup()
        assert caught.value.option == "worker"


def test_a_step_remembers_the_launcher_s_version() -> None:
    step = CheckedFn()
    assert step._launcher == installed_version()
    step.setup()
