"""Read the settings of a sentence-transformers folder: pooling, length, prompts."""

import json
from pathlib import Path
from typing import Any

from transforms.errors import BadInput
from transforms.models.options import POOLINGS


def read_settings(folder: str) -> dict[str, Any]:
    """Return pooling, normalization, length and prompts of a sentence-transformers folder, else {}.

    Raises:
        BadInput: the folder asks for a computation that albeam does not support.
    """
    root = Path(folder)
    if not (root / "modules.json").is_file():
        return {}
    settings: dict[str, Any] = {"normalize": False}
    for module in _read_json(root / "modules.json"):
        kind = str(module["type"]).rsplit(".", 1)[-1]
        config = _read_json(root / module["path"] / "config.json") if module["path"] else {}
        if kind == "Pooling":
            settings["pooling"] = _pooling(config, folder)
        elif kind == "Normalize":
            settings["normalize"] = True
        elif kind != "Transformer":
            problem = f"has a {kind} module after its encoder, which albeam does not compute"
            remedy = "Use a model with only Transformer, Pooling and Normalize modules"
            raise BadInput("model", folder, problem, remedy)
    transformer = _read_json(root / "sentence_bert_config.json")
    if transformer.get("do_lower_case"):
        raise BadInput(
            "model",
            folder,
            "asks for do_lower_case in sentence_bert_config.json, which would shift character "
            "offsets",
            "Set it to false if the tokenizer lowercases by itself",
        )
    settings["max_tokens"] = transformer.get("max_seq_length") or _tokenizer_length(root)
    sentence = _read_json(root / "config_sentence_transformers.json")
    settings["prompts"] = {k: v for k, v in (sentence.get("prompts") or {}).items() if v}
    return settings


def _tokenizer_length(root: Path) -> int | None:
    length = _read_json(root / "tokenizer_config.json").get("model_max_length")
    return int(length) if length and length < 1_000_000 else None


def _pooling(config: dict[str, Any], folder: str) -> str:
    mode = config.get("pooling_mode")
    if mode is None:
        active = [key for key, on in config.items() if key.startswith("pooling_mode_") and on]
        names = {
            "pooling_mode_cls_token": "cls",
            "pooling_mode_mean_tokens": "mean",
            "pooling_mode_max_tokens": "max",
        }
        mode = names.get(active[0], active[0]) if len(active) == 1 else "+".join(active) or "mean"
    if mode not in POOLINGS:
        remedy = f"Use a model that pools by one of {', '.join(POOLINGS)}"
        raise BadInput("model", folder, f"pools by {mode!r}", remedy)
    if config.get("include_prompt", True) is False:
        problem = "excludes its prompt from pooling (include_prompt is false)"
        raise BadInput("model", folder, problem, "Use a model that includes it")
    return str(mode)


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        problem = f"is not JSON: {error}"
        raise BadInput("model file", str(path), problem, "Restore the model's files") from error


def first_given(*values: str | None) -> str:
    """Return the first value that is not None."""
    return next(value for value in values if value is not None)
