"""What happens to the data: functions on Arrow tables, and thin transforms around them.

The names of this package's public face are loaded when first used, so that importing it costs
nothing.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "AlbertEmbeddingHandler": "embedding",
    "BuildIndex": "indexing",
    "CommitSnapshot": "indexing",
    "EmbedPassages": "embedding",
    "Hit": "hits",
    "LandMessages": "messages",
    "Message": "messages",
    "MessageOptions": "messages",
    "ModelOptions": "model",
    "PassageOptions": "passages",
    "Placement": "model",
    "ReadParts": "source",
    "SplitPassages": "passages",
    "Store": "store",
    "WriteParts": "writing",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'transforms' has no attribute {name!r}")
    return getattr(import_module(f"transforms.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
