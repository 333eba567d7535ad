"""Bounds of a model's config, checked before transformers builds what it asks for."""

import math
from collections.abc import Iterator
from typing import Any

from transforms.models.model_files import refusal
from transforms.models.weights import Weights

_CONFIG = "config.json"
#: No size of an encoder is larger: words, positions, widths.
_MOST = 1 << 24
#: Layers are computed one after another, even if they share their weights.
_MOST_LAYERS = 256
_MOST_HEADS = 128
_MOST_LABELS = 65_536
#: Numbers that no network is built from.
_FREE = frozenset({"max_length", "model_max_length", "max_seq_length", "seed", "random_seed"})
#: Names of labels and of tasks, with their numbers.
_NAMES = frozenset({"id2label", "label2id", "task_specific_params"})
#: What names files, code or computations outside the folder's weights and transformers.
_FOREIGN = (
    *("quantization_config", "compression_config", "transformers_weights", "configuration_files"),
    *("gguf_file", "adapter_name_or_path"),
)
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
#: A network may need so many times the numbers of its tensors, plus those of a small one.
_SPARE_RATIO, _SPARE = 4, 1 << 20


def check_values(config: dict[str, Any], name: str) -> None:
    """Check the numbers of a config, and that it does not name anything outside its folder.

    Raises:
        BadInput: it does, or a number is not one or is out of bounds.
    """
    for key in _FOREIGN:
        if config.get(key):
            problem = f"asks for {key}, which albeam does not follow"
            raise refusal(name, _CONFIG, problem, "Give a model without it")
    for key in _ATTENTION:
        if "/" in str(config.get(key) or ""):
            raise refusal(name, _CONFIG, f"asks for code from elsewhere as its {key}")
    for key, value in _numbers(config):
        most = _MOST_LAYERS if "layer" in key or "group" in key else _MOST
        most = _MOST_HEADS if "heads" in key else _MOST_LABELS if "labels" in key else most
        if abs(value) > most and key not in _FREE:
            problem = f"has {key} {value:.6g}, but at most {most} is possible"
            raise refusal(name, _CONFIG, problem)


def _numbers(value: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers in a config, with the keys that they are under."""
    waiting: list[tuple[str, Any]] = [each for each in value.items() if each[0] not in _NAMES]
    while waiting:
        key, found = waiting.pop()
        if isinstance(found, dict):
            waiting += [(str(inner), each) for inner, each in found.items()]
        elif isinstance(found, list):
            waiting += [(key, each) for each in found]
        elif type(found) is int:
            yield key, found


def check_sizes(config: Any, weights: Weights, name: str) -> None:
    """Check that the network that a config describes is about as large as its weights.

    Raises:
        BadInput: it is not, so that building it could take all memory.
    """
    for key in ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"):
        if _size(config, key, name, default=1) < 1:
            raise refusal(name, _CONFIG, f"has a {key} of 0")
    width = _size(config, "hidden_size", name)
    shared = config.model_type == "albert"
    layers = ("num_hidden_groups", "inner_group_num") if shared else ("num_hidden_layers",)
    for key in layers:
        if _size(config, key, name) > max(1, weights.layers):
            problem = f"has {key} {getattr(config, key)}, but its weights have {weights.layers}"
            raise refusal(name, _CONFIG, problem)
    blocks = math.prod(_size(config, key, name) for key in layers)
    inner = _size(config, "intermediate_size", name)
    rows = ("vocab_size", "max_position_embeddings", "type_vocab_size")
    words = _size(config, "embedding_size", name) or width
    needed = (
        words * sum(_size(config, key, name) for key in rows)
        + blocks * (4 * width * width + 2 * width * inner)
        + width * _size(config, "num_labels", name)
    )
    if needed > _SPARE_RATIO * weights.numbers + _SPARE:
        problem = f"describes a network of some {needed} numbers, but its weights have "
        raise refusal(name, _CONFIG, f"{problem}{weights.numbers}")


def _size(config: Any, key: str, name: str, default: int = 0) -> int:
    value = getattr(config, key, None)
    if value is None:
        return default
    if type(value) is not int or value < 0:
        # Some configs have a size for each layer.
        if isinstance(value, list) and all(type(each) is int for each in value):
            return max(value, default=0)
        raise refusal(name, _CONFIG, f"has {key} {str(value)[:80]}, which is not a size")
    return value
