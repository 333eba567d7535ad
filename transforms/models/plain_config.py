"""The config of an ALBERT or a BERT, read without transformers, whose import takes seconds.

Only a config that says nothing unusual is read here. `transforms.models.resolve` reads any other
one with transformers, which also says what is wrong with it.
"""

from dataclasses import dataclass, fields
from typing import Any

from transforms.models.config_bounds import check_sizes, check_values
from transforms.models.model_files import check_files, read_object
from transforms.models.weights import read_weights


@dataclass(frozen=True)
class PlainConfig:
    """A config's fields by transformers' names, with its defaults for ALBERT.

    Attributes:
        embedding_size: the width of the word vectors; None if it is that of the states.
    """

    model_type: str = "albert"
    vocab_size: int = 30_000
    embedding_size: int | None = 128
    hidden_size: int = 4_096
    num_hidden_layers: int = 12
    num_hidden_groups: int = 1
    inner_group_num: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16_384
    hidden_act: str = "gelu_new"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    albeam_dtype: str = ""


_ALBERT = PlainConfig()
_BERT = PlainConfig(
    model_type="bert",
    vocab_size=30_522,
    embedding_size=None,
    hidden_size=768,
    num_attention_heads=12,
    intermediate_size=3_072,
    hidden_act="gelu",
)
_DEFAULTS = {"albert": _ALBERT, "bert": _BERT}
#: Keys of ALBERT alone.
_OF_ALBERT = frozenset({"embedding_size", "num_hidden_groups", "inner_group_num"})
#: Keys that change what a network computes, with the values that change nothing.
_USUAL: dict[str, tuple[object, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "chunk_size_feed_forward": (0,),
    "pruned_heads": ({},),
    "auto_map": (),
}
#: The beginnings of names of architectures that have no other network in front of their head.
_ARCHITECTURES = {"albert": "Albert", "bert": "Bert"}


def load_plain_config(folder: str, name: str) -> PlainConfig | None:
    """Check a model's files, and return its config; None if it takes transformers to read it.

    Raises:
        BadInput: a file leads out of the folder, or the weights are not safetensors or do not fit
            the config.
    """
    check_files(folder, name)
    found = read_object(folder, "config.json", name)
    check_values(found, name)
    config = plain_config(found)
    if config is not None:
        check_sizes(config, read_weights(folder, name), name)
    return config


def plain_config(found: dict[str, Any]) -> PlainConfig | None:
    """Return the config of a ``config.json``, or None if anything in it is unusual."""
    kind = found.get("model_type")
    defaults = _DEFAULTS.get(kind) if isinstance(kind, str) else None
    if defaults is None or not _is_usual(found, defaults.model_type):
        return None
    given = {}
    for field in fields(PlainConfig):
        default = getattr(defaults, field.name)
        if field.name in _OF_ALBERT and kind != "albert":
            value = default
        else:
            value = found.get(field.name, default)
        if not _fits(value, default):
            return None
        given[field.name] = value
    config = PlainConfig(**given)
    sizes = (config.hidden_size, config.num_attention_heads, config.num_hidden_groups)
    if min(sizes) < 1 or config.hidden_size % config.num_attention_heads:
        return None
    return config


def _is_usual(found: dict[str, Any], kind: str) -> bool:
    names = found.get("architectures") or []
    if not isinstance(names, list):
        return False
    if not all(str(each).startswith(_ARCHITECTURES[kind]) for each in names):
        return False
    if any("CausalLM" in str(each) or "LMHead" in str(each) for each in names):
        return False
    return all(
        any(type(found[key]) is type(value) and found[key] == value for value in values)
        for key, values in _USUAL.items()
        if key in found
    )


def _fits(value: Any, default: Any) -> bool:
    """Return whether a value has the type of its default."""
    if isinstance(default, float):
        return type(value) is float and 0 <= value < 1
    return type(value) is type(default)
