"""The models that come with albeam: their names, and where they are."""

from pathlib import Path

from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, DEFAULT_READER, DEFAULT_RERANKER

#: Where the folders of the models are, each under its name.
ROOT = Path(__file__).parent
#: How to train a model like each one.
_TRAINING = {
    DEFAULT_MODEL: "albeam distill",
    DEFAULT_READER: "albeam finetune read",
    DEFAULT_RERANKER: "albeam finetune rerank",
}


def is_shipped(name: str) -> bool:
    """Return whether a name is that of a model that comes with albeam."""
    return name in _TRAINING


def is_there(name: str) -> bool:
    """Return whether this installation has the weights of such a model."""
    return (ROOT / name / "config.json").is_file()


def shipped_folder(name: str) -> str:
    """Return the folder of such a model; raises BadInput if this installation lacks it."""
    if not is_there(name):
        remedy = f"Give the folder of another model, such as one that {_TRAINING[name]} trained"
        raise BadInput("model", name, "has no weights in this installation of albeam", remedy)
    return str(ROOT / name)
