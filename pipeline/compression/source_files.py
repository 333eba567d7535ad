"""The files of the model that is compressed: what is read, and what the result takes over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.models.model_files import read_object
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model
from transforms.models.sentence_transformers import read_settings
from transforms.training.export import read_model

#: Endings of the names of networks without a head, or with one that only pretraining uses.
_BARE = ("Model", "ForMaskedLM", "ForPreTraining")
#: What sentence-transformers reads, besides config, weights and tokenizer.
_SETTINGS = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")


def read_source(folder: Path) -> tuple[Any, dict[str, npt.NDArray[np.float32]]]:
    """Return config and weights of the encoder in a folder.

    Raises:
        BadInput: it is no ALBERT or BERT that pools by mean, or it has a head.
    """
    config, weights = read_model(folder, ("albert", "bert"))
    found = read_object(str(folder), "config.json", str(folder)).get("architectures") or []
    heads = [str(name) for name in found if not str(name).endswith(_BARE)]
    if heads:
        raise BadInput(
            "model",
            str(folder),
            f"is an {heads[0]}, whose head would be lost",
            "Compress the encoder, and train the head on the smaller one",
        )
    identity = find_model(ModelOptions(str(folder))).identity
    if identity.pooling != "mean":
        raise BadInput(
            "model",
            str(folder),
            f"pools by {identity.pooling}",
            "Give a model that pools by mean",
        )
    return config, weights


def copy_settings(source: Path, folder: Path) -> None:
    """Give a new model the modules, the length and the prompts of another, if it has any."""
    if not (source / _SETTINGS[0]).is_file():
        return
    # Raises BadInput if the modules are not those that a mean needs.
    read_settings(str(source))
    for config in folder.glob("*/config.json"):
        shutil.rmtree(config.parent)
    copied = [source / name for name in _SETTINGS if (source / name).is_file()]
    for path in [*copied, *source.glob("[0-9]_*/config.json")]:
        target = folder / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
