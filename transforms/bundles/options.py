"""The options of a bundle; nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path

from transforms.errors import BadInput, check_at_least, check_choice

#: How vectors are kept: in four or two bytes a number, or in one and a scale for each vector.
VECTORS = ("float32", "float16", "int8")
#: The most passages of a bundle for a program, and of one for a browser, which loads all vectors.
MOST_PASSAGES, MOST_PASSAGES_WEB = 500_000, 50_000


@dataclass(frozen=True)
class BundleOptions:
    """Options of ``albeam bundle``.

    Attributes:
        store: the store's URL.
        output: the folder to write, or the archive if its name ends in ``.zip``; a new one.
        web: whether to write a page that searches in the browser.
        snapshot: the snapshot's number; the newest by default.
        model: the present folder of the store's model, if it has moved.
        vectors: one of `VECTORS`; None takes int8 with ``web``, else float16.
        most_passages: larger stores are refused; None takes `MOST_PASSAGES_WEB` with ``web``, else
            `MOST_PASSAGES`.
    """

    store: str
    output: Path
    web: bool = False
    snapshot: int | None = None
    model: str | None = None
    vectors: str | None = None
    most_passages: int | None = None

    def __post_init__(self) -> None:
        """Raise BadInput if an option can't be used, or the folder holds something."""
        if self.vectors is not None:
            check_choice("vectors", self.vectors, VECTORS)
        if self.most_passages is not None:
            check_at_least("most_passages", self.most_passages, 1)
        empty = self.output.is_dir() and not any(self.output.iterdir()) and not self.zipped
        if self.output.exists() and not empty:
            what = "file" if self.zipped else "folder"
            raise BadInput("output", str(self.output), "exists", f"Name a new {what}")

    @property
    def zipped(self) -> bool:
        """Whether the bundle is one archive."""
        return self.output.suffix.lower() == ".zip"

    @property
    def vector_kind(self) -> str:
        """The kind of the vectors."""
        return self.vectors or ("int8" if self.web else "float16")

    def check_size(self, passages: int) -> None:
        """Raise BadInput if a store has more passages than are allowed."""
        most = self.most_passages or (MOST_PASSAGES_WEB if self.web else MOST_PASSAGES)
        if passages > most:
            where = "the browser loads all vectors" if self.web else "each question reads all"
            problem = f"has {passages:,} passages, and a bundle has at most {most:,}: {where}"
            remedy = f"Use albeam serve, or give --most-passages {passages}"
            raise BadInput("store", self.store, problem, remedy)
