"""Full disks are named."""

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest

from transforms.errors import AlbeamError
from transforms.storage.disk_space import met_full_disk, naming_full_disk

Space = namedtuple("Space", "f_blocks f_bavail f_frsize")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_a_full_disk_names_it(tmp_path: Path, number: int) -> None:
    error = ValueError("could not write")
    error.__cause__ = OSError(number, os.strerror(number))
    with pytest.raises(AlbeamError) as caught, naming_full_disk(str(tmp_path)):
        raise error
    assert caught.value.value == str(tmp_path)
    assert "No space left on device" in caught.value.problem


def test_any_error_where_nothing_is_free_is_one_of_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("can't read back what was written")
    with pytest.raises(RuntimeError), naming_full_disk(str(tmp_path)):
        raise error
    monkeypatch.setattr(os, "statvfs", lambda _: Space(100, 0, 4_096))
    with pytest.raises(AlbeamError), naming_full_disk(str(tmp_path)):
        raise error
    # A filesystem that knows no bounds is never full.
    monkeypatch.setattr(os, "statvfs", lambda _: Space(0, 0, 4_096))
    with pytest.raises(RuntimeError), naming_full_disk(str(tmp_path)):
        raise error


def test_other_errors_are_none_of_a_full_disk() -> None:
    assert not met_full_disk(None)
    assert not met_full_disk(OSError(errno.EIO, "broken"))
    assert met_full_disk(OSError(errno.ENOSPC, "full"))
    assert met_full_disk(ValueError("An IO error occurred: No space left on device (os error 28)"))
