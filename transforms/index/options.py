"""Which indexes a user asks for."""

from dataclasses import dataclass

from transforms.catalog.lexical_manifest import LANGUAGES
from transforms.errors import BadInput

NAMES = ("auto", "flat", "hnsw", "ivf", "ivfpq", "none")
GPU = ("auto", "never")


@dataclass(frozen=True)
class IndexOptions:
    """What a user wants of an index.

    Attributes:
        index: one of `NAMES`, or a FAISS factory string.
        recall_target: recall@10 that an approximate index must reach.
        memory: bytes that the index may take when it is searched.
        gpu: ``auto`` trains on the GPUs that FAISS sees, ``never`` on the CPU.
        shards: files that share the rows; 0 makes as many as keep the memory of building bounded.
    """

    index: str = "auto"
    recall_target: float = 0.95
    memory: int = 8_000_000_000
    gpu: str = "auto"
    shards: int = 0


LEXICAL = ("auto", "none")
DEFAULT_LANGUAGE = "english"


@dataclass(frozen=True)
class LexicalOptions:
    """Whether a lexical index is wanted, ``auto`` or ``none``, and of which language.

    A language of None is that of the store's other segments, else English.
    """

    lexical: str = "auto"
    language: str | None = None

    def __post_init__(self) -> None:
        """Raise BadInput for a word that is not one of those."""
        if self.lexical not in LEXICAL:
            raise BadInput(f"lexical {self.lexical!r} is not one of {', '.join(LEXICAL)}")
        if self.language is not None and self.language not in LANGUAGES:
            raise BadInput(f"language {self.language!r} is not one of {', '.join(LANGUAGES)}")
