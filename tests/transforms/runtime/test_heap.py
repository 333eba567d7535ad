"""Free memory goes back to the system, where the C library can give it back."""

import ctypes
import sys
from pathlib import Path

import pytest

from transforms.runtime import heap
from transforms.runtime.heap import trim_heap

#: Below what the C library takes from the system block by block.
_PIECE, _PIECES = 64 << 10, 2_000


def resident() -> int:
    """This process's pages in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_lies_between_kept_pieces_goes_back() -> None:
    if not trim_heap():
        pytest.skip("this C library has no malloc_trim")
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    pieces = [libc.malloc(ctypes.c_size_t(_PIECE)) for _ in range(_PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, _PIECE)
    # The last one holds the others where they are.
    for piece in pieces[:-1]:
        libc.free(ctypes.c_void_p(piece))
    before = resident()
    trim_heap()
    assert (before - resident()) * 4096 > _PIECE * _PIECES // 2
    libc.free(ctypes.c_void_p(pieces[-1]))


def test_a_c_library_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap._find_trim.cache_clear()
    try:
        assert not trim_heap()
    finally:
        heap._find_trim.cache_clear()
