"""Watched folders: files that a producer puts there, and requests to the storage, counted."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.models import make_texts
from transforms.storage import filesystem
from transforms.streaming import checkpoint, journal_entries


def put(folder: Path, name: str, documents: dict[str, str | None]) -> Path:
    """Write a file as a careful producer does: under another name first."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {"id": list(documents), "text": pa.array(list(documents.values()), pa.string())}
    )
    pq.write_table(table, folder / f"_{name}", row_group_size=10)
    return (folder / f"_{name}").rename(folder / name)


def some(first: int, count: int) -> dict[str, str | None]:
    """Return documents with seeded texts."""
    texts = make_texts(count, seed=first)
    return {f"doc-{first + number:04d}": text for number, text in enumerate(texts)}


@contextmanager
def counted_requests() -> Iterator[Counter[str]]:
    """Count the requests to the storage by URL, as a process makes them that has no cache yet."""
    requests: Counter[str] = Counter()
    for cached in (
        journal_entries.read_entry,
        journal_entries.read_closing,
        checkpoint.read_checkpoint,
        checkpoint._read_files,
    ):
        cached.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read_bytes", "open_input", "exists", "list_names"):
            patch.setattr(filesystem, name, _counting(getattr(filesystem, name), requests))
        yield requests


def _counting(call: Any, requests: Counter[str]) -> Any:
    def counting(url: str) -> Any:
        requests[url] += 1
        return call(url)

    return counting
