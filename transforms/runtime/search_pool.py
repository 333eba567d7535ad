"""A thread pool for the parts of one search.

FAISS and tantivy release Python's lock while they work, and use one core for a single question. The
two halves of a hybrid search, and the shards of an index, run in parallel here.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from transforms.runtime.once import Once


def _make_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "albeam-search")


_POOL = Once(_make_pool, inherited=False)


def search_pool() -> ThreadPoolExecutor:
    """Return the pool: one thread per core. Its tasks must not wait for each other."""
    return _POOL()
