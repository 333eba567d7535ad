"""Open Parquet files, with errors that name the file."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import AlbeamError, BadInput, Damaged
from transforms.storage import filesystem


def open_parquet(url: str) -> Any:
    """A store's Parquet file, its footer read; what is read from it later is checked."""
    with reading(url):
        return pq.ParquetFile(filesystem.open_input(url), page_checksum_verification=True)


def reading(url: str) -> AbstractContextManager[None]:
    """What fails while a store's Parquet file is read becomes Damaged, which names the file."""
    remedy = "restore it, or embed again into a new store"
    return _reading(Damaged, f"{url} is missing; {remedy}", url, remedy)


def reading_given(url: str, what: str) -> AbstractContextManager[None]:
    """What fails while a Parquet file of the user's is read becomes BadInput, which names it."""
    name = f"{what} {url!r}"
    return _reading(BadInput, f"there is no {name}; check the path", name, "replace it")


@contextmanager
def _reading(kind: type[AlbeamError], missing: str, name: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, ConnectionError):
        raise
    except FileNotFoundError as error:
        raise kind(missing) from error
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise kind(f"{name} can't be read as Parquet: {reason}; {remedy}") from error
