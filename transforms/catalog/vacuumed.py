"""Tell a snapshot that a vacuum removed, while a reader had it open, from a damaged one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from transforms.catalog.snapshot import snapshot_numbers, snapshot_url
from transforms.errors import Damaged, Vacuumed
from transforms.storage import filesystem


@dataclass(frozen=True)
class SnapshotSource:
    """A snapshot that a reader has open.

    Attributes:
        store: the store's URL.
        number: the snapshot's number.
    """

    store: str
    number: int

    @contextmanager
    def naming_vacuum(self) -> Iterator[None]:
        """Turn the error about a missing file into `Vacuumed`, if the snapshot is gone too.

        A vacuum removes a snapshot before it removes files of it.
        """
        try:
            yield
        except (Damaged, FileNotFoundError) as error:
            if self._is_vacuumed():
                raise Vacuumed(
                    "snapshot",
                    self.number,
                    "was vacuumed",
                    f"Open the store {self.store} again, or call its refresh()",
                ) from error
            raise

    def _is_vacuumed(self) -> bool:
        if filesystem.exists(snapshot_url(self.store, self.number)):
            return False
        # Without a newer snapshot, something else removed the store.
        return self.number < max(snapshot_numbers(self.store), default=0)
