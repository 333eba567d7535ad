"""Model folders that transformers and sentence-transformers load without changes."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from transformers import AlbertConfig, BertConfig, PreTrainedTokenizerBase

from transforms.errors import AlbeamError, BadInput
from transforms.models.model_files import read_object
from transforms.training.inputs import check_model
from transforms.training.vocabulary import SPECIAL

#: transformers' config and bare encoder of each type of model.
_NETWORKS: dict[str, tuple[Any, str]] = {
    "albert": (AlbertConfig, "AlbertModel"),
    "bert": (BertConfig, "BertModel"),
}
MODULES = ("Transformer", "Pooling", "Normalize")


def write_model(
    folder: Path,
    config: AlbertConfig | BertConfig,
    weights: Mapping[str, npt.NDArray[np.floating]],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    *,
    architecture: str | None = None,
    write_extra: Callable[[Path], object] | None = None,
) -> None:
    """Write config, float16 weights, tokenizer, mean pooling and normalization.

    The folder appears whole or not at all, and replaces an earlier model there.

    Args:
        folder: where to write the model.
        config: the network's size.
        weights: arrays named as in the architecture.
        tokenizer: the model's tokenizer.
        max_tokens: where the model cuts texts.
        architecture: transformers' class of the network; None for the bare encoder.
        write_extra: writes further files into the folder.

    Raises:
        AlbeamError: a weight is not finite in float16.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        halves = {name: np.ascontiguousarray(a.astype(np.float16)) for name, a in weights.items()}
    for name, half in halves.items():
        if not np.isfinite(half).all():
            raise AlbeamError(
                "output",
                str(folder),
                f"the model is not written, because {name} is not finite in float16",
                "Train with a lower --rate",
            )
    config = copy.deepcopy(config)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    config.architectures = [architecture or _NETWORKS[config.model_type][1]]
    config.dtype = "float16"
    if config.model_type == "albert":
        config.pad_token_id, config.bos_token_id, config.eos_token_id = (
            SPECIAL["<pad>"],
            SPECIAL["[CLS]"],
            SPECIAL["[SEP]"],
        )
    config.save_pretrained(partial)
    save_file(halves, partial / "model.safetensors", metadata={"format": "pt"})
    (partial / "model.safetensors").chmod(0o644)  # safetensors keeps its files private
    # Training has cut texts; whoever loads the model cuts at its own length.
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.no_truncation()
    tokenizer.save_pretrained(partial)
    backend.save(str(partial / "tokenizer.json"), pretty=False)
    _write_modules(partial, config.hidden_size, max_tokens)
    if write_extra is not None:
        write_extra(partial)
    replace_folder(partial, folder)


def _write_modules(folder: Path, dim: int, max_tokens: int) -> None:
    """Write what sentence-transformers reads: the modules and their settings."""
    modules = []
    for number, kind in enumerate(MODULES):
        path = "" if number == 0 else f"{number}_{kind}"
        kind_name = f"sentence_transformers.models.{kind}"
        modules.append({"idx": number, "name": str(number), "path": path, "type": kind_name})
        if path:
            (folder / path).mkdir()
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False}
    )
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": dim,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    write_json(folder / "2_Normalize" / "config.json", {})


def read_model(
    folder: Path, families: Sequence[str] = ("albert",)
) -> tuple[Any, dict[str, npt.NDArray[np.float32]]]:
    """Read config and weights of a model's folder, as float32, without pooler and heads.

    Args:
        folder: the folder.
        families: the types of models that the caller can use: ``albert`` and ``bert``.

    Raises:
        BadInput: the folder holds no such model.
    """
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise BadInput(
                "model", str(folder), f"has no {name}", "Name a folder that albeam distill wrote"
            )
    kind = read_object(str(folder), "config.json", str(folder)).get("model_type")
    if not isinstance(kind, str) or kind not in families:
        remedy = f"Name a model of type {' or '.join(families)}"
        raise BadInput("model", str(folder), f"is a model of type {kind}", remedy)
    check_model(folder, "model")
    found = load_file(folder / "model.safetensors")
    weights = {
        name.removeprefix(f"{kind}."): array.astype(np.float32)
        for name, array in found.items()
        if name.removeprefix(f"{kind}.").startswith(("embeddings.", "encoder."))
        and not name.endswith("position_ids")
    }
    return _NETWORKS[kind][0].from_pretrained(folder, local_files_only=True), weights


def max_tokens_of(folder: Path, config: AlbertConfig) -> int:
    """Return the model's length limit: as sentence-transformers saved it, or all positions."""
    saved = read_object(str(folder), "sentence_bert_config.json", str(folder))
    return int(saved.get("max_seq_length") or config.max_position_embeddings)


def write_json(path: Path, content: object) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def replace_folder(finished: Path, folder: Path) -> None:
    """Move a finished folder to the place of another one."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(finished, folder)
    shutil.rmtree(old, ignore_errors=True)
