"""Requests to a storage server: repeated if the network fails, and many at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

A = TypeVar("A")
T = TypeVar("T")

#: The number of requests that are sent at once.
_THREADS = 32
_TRANSIENT = (TimeoutError, ConnectionError)
#: Errors of botocore and gcsfs for bytes that differ from the checksum that was sent with them.
_CHECKSUM_ERRORS = frozenset({"FlexibleChecksumError", "ChecksumError"})


def retry(call: Callable[[], T]) -> T:
    """Return ``call()``, repeated up to seven times with growing pauses if the network fails."""
    attempts = Retrying(
        retry=retry_if_exception(_is_transient),
        stop=stop_after_attempt(7),
        wait=wait_exponential_jitter(initial=0.2, max=10),
        reraise=True,
    )
    return attempts(call)


def in_threads(call: Callable[[A], T], items: Iterable[A]) -> list[T]:
    """Return ``call`` of each item, in order; many run at once, because servers answer slowly."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(call, items))


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, _TRANSIENT) or type(error).__name__ in _CHECKSUM_ERRORS
