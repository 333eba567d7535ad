"""Read the settings of a sentence-transformers folder: pooling, length, prompts."""

from collections.abc import Iterator
from typing import Any

from transforms.errors import BadInput
from transforms.models.model_files import read_json, read_object, refusal
from transforms.models.options import POOLINGS

_MODULES, _CONFIG = "modules.json", "config.json"
_TRANSFORMER, _SENTENCE = "sentence_bert_config.json", "config_sentence_transformers.json"


def read_settings(folder: str) -> dict[str, Any]:
    """Return pooling, normalization, length and prompts of a sentence-transformers folder, else {}.

    Raises:
        BadInput: the folder asks for a computation that albeam does not support, or a file is not
            as it should be.
    """
    modules = read_json(folder, _MODULES, folder)
    if modules is None:
        return {}
    settings: dict[str, Any] = {"normalize": False}
    for kind, path in _modules(modules, folder):
        if kind == "Pooling":
            config = read_object(folder, f"{path}/{_CONFIG}", folder) if path else {}
            settings["pooling"] = _pooling(config, folder)
        elif kind == "Normalize":
            settings["normalize"] = True
        elif kind != "Transformer":
            problem = f"has a {kind} module after its encoder, which albeam does not compute"
            remedy = "Use a model with only Transformer, Pooling and Normalize modules"
            raise BadInput("model", folder, problem, remedy)
    transformer = read_object(folder, _TRANSFORMER, folder)
    if transformer.get("do_lower_case"):
        raise BadInput(
            "model",
            folder,
            "asks for do_lower_case in sentence_bert_config.json, which would shift character "
            "offsets",
            "Set it to false if the tokenizer lowercases by itself",
        )
    length = transformer.get("max_seq_length") or _tokenizer_length(folder)
    if length is not None and (type(length) is not int or length < 1):
        raise refusal(folder, _TRANSFORMER, f"has the max_seq_length {str(length)[:80]}")
    settings["max_tokens"] = length
    prompts = read_object(folder, _SENTENCE, folder).get("prompts") or {}
    if not isinstance(prompts, dict) or not all(
        isinstance(prompt, str | None) for prompt in prompts.values()
    ):
        raise refusal(folder, _SENTENCE, "has prompts that are not texts")
    settings["prompts"] = {k: v for k, v in prompts.items() if v}
    return settings


def _modules(modules: Any, folder: str) -> Iterator[tuple[str, str]]:
    """Yield the type of each module, without its package, and its folder."""
    if not isinstance(modules, list):
        raise refusal(folder, _MODULES, "is no list of modules")
    for module in modules:
        found = module if isinstance(module, dict) else {}
        kind, path = found.get("type"), found.get("path", "")
        if not isinstance(kind, str) or not isinstance(path, str):
            raise refusal(folder, _MODULES, "has a module without a type or a path")
        yield kind.rsplit(".", 1)[-1], path


def _tokenizer_length(folder: str) -> int | None:
    length = read_object(folder, "tokenizer_config.json", folder).get("model_max_length")
    if not isinstance(length, int | float) or not 0 < length < 1_000_000:
        return None
    return int(length)


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


def first_given(*values: str | None) -> str:
    """Return the first value that is not None."""
    return next(value for value in values if value is not None)
