"""A thread pool for the parts of one search.

FAISS and tantivy release Python's lock while they work, and use one core for a single question. The
two halves of a hybrid search, and the shards of an index, run in parallel here.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor


@functools.cache
def search_pool() -> ThreadPoolExecutor:
    """Return the pool: one thread per core. Its tasks must not wait for each other."""
    # A forked process has none of the threads.
    os.register_at_fork(after_in_child=search_pool.cache_clear)
    return ThreadPoolExecutor(os.cpu_count(), "albeam-search")
