"""A trained model as a folder that transformers and sentence-transformers load as it is."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from transformers import AlbertConfig, PreTrainedTokenizerBase

from transforms.errors import AlbeamError, BadInput
from transforms.training.vocabulary import SPECIAL

MODULES = ("Transformer", "Pooling", "Normalize")


def write_model(
    folder: Path,
    config: AlbertConfig,
    weights: Mapping[str, npt.NDArray[np.floating]],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    *,
    also: Callable[[Path], object] | None = None,
) -> None:
    """Write config, float16 weights, tokenizer, mean pooling and normalization.

    weights: named as in `AlbertModel`; also: writes what else belongs there. The folder appears
    whole or not at all; a model that stood there before is replaced. Raises AlbeamError where a
    weight is not finite in float16.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        halves = {name: np.ascontiguousarray(a.astype(np.float16)) for name, a in weights.items()}
    for name, half in halves.items():
        if not np.isfinite(half).all():
            raise AlbeamError(
                f"{folder} is not written: {name} is not finite in float16; lower --rate"
            )
    config = copy.deepcopy(config)
    made = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    config.architectures = ["AlbertModel"]
    config.dtype = "float16"
    config.pad_token_id, config.bos_token_id, config.eos_token_id = (
        SPECIAL["<pad>"],
        SPECIAL["[CLS]"],
        SPECIAL["[SEP]"],
    )
    config.save_pretrained(made)
    save_file(halves, made / "model.safetensors", metadata={"format": "pt"})
    (made / "model.safetensors").chmod(0o644)  # safetensors keeps its files private
    # Training has cut texts; whoever loads the model cuts at its own length.
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.no_truncation()
    tokenizer.save_pretrained(made)
    backend.save(str(made / "tokenizer.json"), pretty=False)
    modules = []
    for number, kind in enumerate(MODULES):
        path = "" if number == 0 else f"{number}_{kind}"
        kind_name = f"sentence_transformers.models.{kind}"
        modules.append({"idx": number, "name": str(number), "path": path, "type": kind_name})
        if path:
            (made / path).mkdir()
    write_json(made / "modules.json", modules)
    write_json(
        made / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False}
    )
    write_json(
        made / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": config.hidden_size,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    write_json(made / "2_Normalize" / "config.json", {})
    if also is not None:
        also(made)
    replace_folder(made, folder)


def read_model(folder: Path) -> tuple[AlbertConfig, dict[str, npt.NDArray[np.float32]]]:
    """Read config and weights (as float32, without a pooler) of an ALBERT folder.

    Of a pre-trained ALBERT, the heads are left out. Raises BadInput where it is none.
    """
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise BadInput(f"model {folder} has no {name}: name a folder that albeam distill wrote")
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != "albert":
        raise BadInput(f"model {folder} is of type {kind}: only an albert can be fine-tuned")
    found = load_file(folder / "model.safetensors")
    weights = {
        name.removeprefix("albert."): array.astype(np.float32)
        for name, array in found.items()
        if name.removeprefix("albert.").startswith(("embeddings.", "encoder."))
        and not name.endswith("position_ids")
    }
    return AlbertConfig.from_pretrained(folder), weights


def longest(folder: Path, config: AlbertConfig) -> int:
    """Tokens of a text that a model takes: as sentence-transformers saved it, or all positions."""
    path = folder / "sentence_bert_config.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return int(kept.get("max_seq_length") or config.max_position_embeddings)


def write_json(path: Path, content: object) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def replace_folder(made: Path, folder: Path) -> None:
    """Put a finished folder in the place of another one."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(made, folder)
    shutil.rmtree(old, ignore_errors=True)
