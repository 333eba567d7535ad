"""Options of the indexes: choices, defaults and checks that need no heavy library.

argparse reads the choices from here, and the defaults from the fields (`IndexOptions.gpu`).
"""

from dataclasses import dataclass

from transforms.catalog.options import LANGUAGES
from transforms.errors import check_at_least, check_choice, check_share

#: Names of vector indexes; any other name is a FAISS factory string.
INDEX_NAMES = ("auto", "flat", "hnsw", "ivf", "ivfpq", "none")
GPU = ("auto", "never")
LEXICAL = ("auto", "none")
#: The language of a store's first lexical index.
DEFAULT_LANGUAGE = "english"


@dataclass(frozen=True)
class IndexOptions:
    """Options of a vector index.

    `transforms.index.vector.selection.check_index_options` checks what only FAISS can tell.

    Attributes:
        index: one of `INDEX_NAMES`, or a FAISS factory string.
        recall_target: recall@10 that an approximate index must reach.
        memory: bytes that the index may take during a search.
        gpu: ``auto`` trains on the GPUs that FAISS sees, ``never`` on the CPU.
        shards: number of index files; 0 chooses as many as bound the memory of building one.
    """

    index: str = "auto"
    recall_target: float = 0.95
    memory: int = 8_000_000_000
    gpu: str = "auto"
    shards: int = 0

    def __post_init__(self) -> None:
        """Raise BadInput if an option is out of range."""
        check_share("recall_target", self.recall_target, "Give a value such as 0.95")
        check_at_least("index_memory", self.memory, 1, "Give a size such as 8GB")
        check_choice("gpu", self.gpu, GPU)
        check_at_least("shards", self.shards, 0, "Give a number, or auto")


@dataclass(frozen=True)
class LexicalOptions:
    """Options of a lexical index.

    Attributes:
        lexical: ``auto`` builds one, ``none`` does not.
        language: one of `transforms.catalog.options.LANGUAGES`; None takes that of the store's
            other segments, else English.
    """

    lexical: str = "auto"
    language: str | None = None

    def __post_init__(self) -> None:
        """Raise BadInput if an option is not one of its choices."""
        check_choice("lexical", self.lexical, LEXICAL)
        check_choice("language", self.language, LANGUAGES)
