"""Open Parquet files, with errors that name the file."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import AlbeamError, BadInput, Damaged
from transforms.storage import filesystem, remedies


def open_parquet(url: str) -> Any:
    """Open a store's Parquet file and read its footer; page checksums are verified later."""
    with reading(url):
        return pq.ParquetFile(filesystem.open_input(url), page_checksum_verification=True)


def reading(url: str) -> AbstractContextManager[None]:
    """Turn errors in a block that reads a store's Parquet file into Damaged."""
    return _reading(partial(Damaged, "file", url), remedies.EMBED_AGAIN, remedies.EMBED_AGAIN)


def reading_input(url: str, option: str) -> AbstractContextManager[None]:
    """Turn errors in a block that reads a user's Parquet file into BadInput."""
    return _reading(partial(BadInput, option, url), "Check the path", "Replace it")


@contextmanager
def _reading(
    make_error: Callable[[str, str], AlbeamError], if_missing: str, if_broken: str
) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, ConnectionError):
        raise
    except FileNotFoundError as error:
        raise make_error("is missing", if_missing) from error
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise make_error(f"can't be read as Parquet: {reason}", if_broken) from error
