"""Data processing: functions on Arrow tables, and thin Beam transforms around them.

The public names of this package are loaded on first use, so that its import is fast.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "AlbertEmbeddingHandler": "ingest.embed_passages",
    "BuildIndex": "index.build",
    "CommitSnapshot": "transactions.commit_job",
    "EmbedPassages": "ingest.embed_passages",
    "Hit": "search.results",
    "LabelPassages": "tasks.prediction.label_column",
    "LandMessages": "streaming.messages",
    "Message": "streaming.messages",
    "MessageOptions": "streaming.messages",
    "ModelOptions": "models.options",
    "PassageOptions": "ingest.options",
    "Placement": "models.options",
    "Predict": "tasks.prediction.predict",
    "ReadParts": "ingest.read_parts",
    "SplitPassages": "ingest.passages",
    "Store": "search.store",
    "WriteParts": "ingest.write_parts",
    "message_of": "streaming.kafka",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'transforms' has no attribute {name!r}")
    return getattr(import_module(f"transforms.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
