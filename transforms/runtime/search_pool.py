"""Threads in which parts of one search run side by side.

FAISS and tantivy leave Python's lock to others while they work. A question alone uses one core in
either; the halves of a hybrid search, and the shards of an index, have one each.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor


@functools.cache
def searchers() -> ThreadPoolExecutor:
    """A thread a core, started with the first work; what runs there must not wait for others."""
    # A process that is forked has none of the threads.
    os.register_at_fork(after_in_child=searchers.cache_clear)
    return ThreadPoolExecutor(os.cpu_count(), "albeam-search")
