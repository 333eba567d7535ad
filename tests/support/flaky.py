"""A filesystem in memory with faults: lost requests, lost answers, delays, old listings.

Its protocol is ``flaky://``. A seed and the number of earlier calls decide which calls fail.
"""

import random
import time
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FlakyFileSystem(MemoryFileSystem):
    """A filesystem in memory with random faults; `arm` sets how many."""

    protocol = ("flaky", "memory")
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    _chosen = random.Random(0)
    _lost = _late = _stale = _stalled = 0.0
    _seen: ClassVar[dict[str, list[Any]]] = {}
    #: Numbers of failed calls, of delayed calls and of old listings.
    failed = stalled = stale = 0

    @classmethod
    def arm(
        cls,
        seed: int,
        lost: float = 0.0,
        late: float = 0.0,
        stale: float = 0.0,
        stalled: float = 0.0,
    ) -> None:
        """Empty the filesystem, and set the shares of calls with faults.

        Args:
            seed: decides which calls have faults.
            lost: share of requests that fail without an effect.
            late: share of requests that fail after their effect.
            stale: share of listings that repeat the listing before.
            stalled: share of calls with a delay.
        """
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls._seen.clear()
        cls._chosen = random.Random(seed)
        cls._lost, cls._late, cls._stale, cls._stalled = lost, late, stale, stalled
        cls.failed = cls.stalled = cls.stale = 0

    @classmethod
    def arm_only_healthy(cls) -> None:
        """End all faults, and keep the files."""
        cls._lost = cls._late = cls._stale = cls._stalled = 0.0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("flaky://"))

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        cls = type(self)
        luck = cls._chosen.random()
        kind = cls._chosen.choice([ConnectionError, TimeoutError])
        if cls._chosen.random() < cls._stalled:
            cls.stalled += 1
            time.sleep(0.05)
        if luck < cls._lost:
            cls.failed += 1
            raise kind(f"{name}: the request got lost")
        value = getattr(super(), name)(*arguments, **options)
        if luck < cls._lost + cls._late:
            cls.failed += 1
            raise kind(f"{name}: the answer got lost")
        return value

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        cls = type(self)
        found = self._call("ls", path, detail=True, **options)
        before = cls._seen.get(path)
        cls._seen[path] = found
        if before is not None and cls._chosen.random() < cls._stale:
            cls.stale += 1
            found = before
        return found if detail else sorted(item["name"] for item in found)

    def info(self, path: str, **options: Any) -> Any:
        return self._call("info", path, **options)

    def _open(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._call("_open", path, *arguments, **options)

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._call("cat_file", path, *arguments, **options)

    def pipe_file(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._call("pipe_file", path, *arguments, **options)

    def put_file(self, *arguments: Any, **options: Any) -> Any:
        return self._call("put_file", *arguments, **options)

    def rm_file(self, path: str) -> Any:
        return self._call("rm_file", path)


fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
