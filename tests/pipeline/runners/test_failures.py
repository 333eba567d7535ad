"""What is said of a job that failed for a reason that no one foresaw."""

import errno
import os
from collections.abc import Callable

import apache_beam as beam
import pytest

from pipeline.runners.launch import make_pipeline, pipeline_options, run_pipeline
from transforms.errors import AlbeamError, BadInput


def failed(make: Callable[[], Exception]) -> AlbeamError:
    """The error of a job of which a step raises one."""

    def fail(_: int) -> int:
        raise make()

    pipeline = make_pipeline("direct", pipeline_options("direct", ()))
    _ = pipeline | beam.Create([1]) | beam.Map(fail)
    with pytest.raises(AlbeamError) as caught:
        run_pipeline(pipeline)
    return caught.value


@pytest.mark.parametrize(
    "make",
    [
        lambda: OverflowError("date value out of range"),
        lambda: ValueError("no such thing"),
        lambda: KeyError("x"),
        lambda: TypeError("not a number"),
        lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    ],
)
def test_no_one_is_told_to_run_again_what_fails_again(make: Callable[[], Exception]) -> None:
    error = failed(make)
    assert "again" not in str(error).lower()
    assert "-v" in error.remedy


@pytest.mark.parametrize(
    "make", [lambda: ConnectionError("reset"), lambda: OSError("gone"), MemoryError]
)
def test_what_may_pass_may_be_run_again(make: Callable[[], Exception]) -> None:
    assert "Run again" in failed(make).remedy


def test_a_full_disk_is_named() -> None:
    error = failed(lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/store/x"))
    assert "No space left on device" in error.problem
    assert "Free some space" in error.remedy


def test_an_error_of_albeam_keeps_its_fields() -> None:
    error = failed(lambda: BadInput("input file", "a.parquet", "is bad", "Replace it"))
    assert (error.option, error.value) == ("input file", "a.parquet")
