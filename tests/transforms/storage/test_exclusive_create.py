"""The responses of filesystems to a conditional put, and what they mean."""

import uuid
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from transforms.errors import BadInput
from transforms.storage import filesystem, retries
from transforms.storage.exclusive_create import put_conditionally
from transforms.storage.probe import PROBE, probe_exclusive


class Server(Exception):
    """The part of a botocore error that is read."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Answering:
    """A filesystem with puts that end as given, one after another."""

    protocol = ("s3", "s3a")

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)

    def pipe_file(self, path: str, content: bytes, mode: str) -> None:
        assert mode == "create"
        code = self.codes.pop(0)
        if code:
            raise OSError(22, "no") from Server(code)


class Careless(MemoryFileSystem):
    """A server that overlooks the condition."""

    protocol = "careless"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        super().pipe_file(path, value, mode="overwrite", **more)


def test_a_lost_race_is_detected_by_the_error_code() -> None:
    assert put_conditionally(Answering(""), "b/x", b"")
    assert not put_conditionally(Answering("PreconditionFailed"), "b/x", b"")
    assert not put_conditionally(Answering("412"), "b/x", b"")


def test_an_undecided_put_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    fs = Answering("ConditionalRequestConflict", "409", "")
    monkeypatch.setattr(filesystem, "open_filesystem", lambda url: (fs, "b/x"))
    assert filesystem.create_exclusively("s3://b/x", b"")
    assert fs.codes == []


def test_any_other_error_stays_one() -> None:
    with pytest.raises(OSError, match="no"):
        put_conditionally(Answering("AccessDenied"), "b/x", b"")


def test_a_careless_server_is_found_out_by_a_second_put(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"s3", "careless"}
    monkeypatch.setattr("transforms.storage.exclusive_create._CONDITIONAL_PUT", frozenset(kinds))
    fsspec.register_implementation("careless", Careless, clobber=True)
    store = f"careless://{uuid.uuid4().hex}/store"
    for _ in range(2):
        with pytest.raises(BadInput) as caught:
            probe_exclusive(store)
        assert (caught.value.option, caught.value.value) == ("store", store)
        assert "condition of a put" in caught.value.problem


def test_a_sound_server_is_asked_once_more_only_the_first_time() -> None:
    store = f"memory://{uuid.uuid4().hex}/store"
    probe_exclusive(store)
    assert filesystem.list_names(store) == [PROBE]
    probe_exclusive(store)
    assert filesystem.read_bytes(filesystem.join(store, PROBE)) == b"{}"


def test_bytes_that_do_not_fit_their_checksum_are_fetched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FlexibleChecksumError(Exception):
        pass

    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    answers: list[Any] = [FlexibleChecksumError(), b"whole"]

    def call() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retries.retry(call) == b"whole"
