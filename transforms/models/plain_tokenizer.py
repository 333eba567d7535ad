"""A fast tokenizer that is read from its ``tokenizer.json`` alone, without transformers.

For ALBERT and BERT, transformers takes the vocabulary from that file, and builds most of the other
steps from the tokenizer's config. So a file is read here only if its steps are those that
transformers would build. Any other one is left to transformers.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transforms.models.model_files import read_object
from transforms.models.plain_config import plain_config
from transforms.models.tokenizer_checks import check_fit, check_tokenizer_files

_TOKENIZER, _CONFIG = "tokenizer.json", "tokenizer_config.json"
#: Files of old tokenizers, which add to the config.
_OLD_MAP, _OLD_ADDED = "special_tokens_map.json", "added_tokens.json"
#: Classes that take the whole file, without the end that says that they are fast.
_WHOLE = frozenset({"PreTrainedTokenizer", "TokenizersBackend"})
#: The class of a family, unless the config names another one.
_CLASSES = {"albert": "AlbertTokenizer", "bert": "BertTokenizer"}
_NAMES = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token")
_NAMED = (*_NAMES, "bos_token", "eos_token")
#: The special tokens of a class, unless its config names others.
_SPECIAL = {
    "AlbertTokenizer": {
        **dict(zip(_NAMES, ("<unk>", "[CLS]", "[SEP]", "<pad>", "[MASK]"), strict=True)),
        **{"bos_token": "[CLS]", "eos_token": "[SEP]"},
    },
    "BertTokenizer": dict(zip(_NAMES, ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"), strict=True)),
}
#: Keys of a config that do not change the ids of a single text, or that are compared here.
_KNOWN = frozenset(
    {
        *_NAMED,
        *("add_prefix_space", "added_tokens_decoder", "backend", "clean_up_tokenization_spaces"),
        *("do_basic_tokenize", "do_lower_case", "is_local", "keep_accents", "local_files_only"),
        *("max_len", "max_length", "model_input_names", "model_max_length", "name_or_path"),
        *("never_split", "pad_to_multiple_of", "pad_token_type_id", "padding_side"),
        *("remove_space", "special_tokens_map_file", "stride", "strip_accents"),
        *("tokenize_chinese_chars", "tokenizer_class", "tokenizer_file", "trim_offsets"),
        *("truncation_side", "truncation_strategy"),
    }
)
_EMPTY: tuple[object, ...] = (None, [], {})
#: What a network is given unless the config says so, without and with the types of tokens.
_INPUTS = (("input_ids", "attention_mask"), ("input_ids", "token_type_ids", "attention_mask"))
#: The fields of an added token.
_ADDED = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
#: A step of pretrained ALBERTs.
_JOINED_BLANKS = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
#: Longer words are unknown to BERT.
_LONGEST_WORD = 100


@dataclass(frozen=True)
class PlainTokenizer:
    """A ``tokenizers.Tokenizer``, with what transformers knows of it.

    Attributes:
        backend: the ``tokenizers.Tokenizer``.
        unknown: the id of what its vocabulary lacks; None without one.
        special: the ids of the special tokens by name, such as ``cls_token``.
        longest: the most tokens of a text by its config; None if it does not say.
        typed: whether a network is told which tokens are those of a pair's second text.
        rebuilt: whether transformers frames texts by its own rule, not by the file's.
    """

    backend: Any
    unknown: int | None
    special: dict[str, int] = field(default_factory=dict)
    longest: int | None = None
    typed: bool = False
    rebuilt: bool = False


def load_plain_tokenizer(folder: str, name: str) -> PlainTokenizer | None:
    """Return the tokenizer of a model's folder; ``name`` is the user's name of the model.

    Returns:
        None if transformers would build another one, or if the files are not as they should be.

    Raises:
        BadInput: a file leads out of the folder or is no JSON, or the vocabulary does not fit the
            model.
    """
    check_tokenizer_files(folder, name)
    model = read_object(folder, "config.json", name)
    config = plain_config(model)
    if config is None or model.get("tokenizer_class") is not None:
        return None
    plain = _find(folder, name, config.model_type)
    if plain is not None:
        check_fit(plain.backend, config.vocab_size, name)
    return plain


def _find(folder: str, name: str, family: str) -> PlainTokenizer | None:
    path, config = Path(folder) / _TOKENIZER, read_object(folder, _CONFIG, name)
    if not path.is_file() or read_object(folder, _OLD_ADDED, name):
        return None
    if "added_tokens_decoder" not in config:
        config |= read_object(folder, _OLD_MAP, name)
    content = path.read_bytes()
    # What is not as it should be is described by transformers.
    with suppress(KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return _read(content, config, family)
    return None


def _read(content: bytes, config: dict[str, Any], family: str) -> PlainTokenizer | None:
    from tokenizers import Tokenizer

    kind = config.get("tokenizer_class", _CLASSES[family]).removesuffix("Fast")
    if kind != _CLASSES[family] and kind not in _WHOLE:
        return None
    if any(key not in _KNOWN and value not in _EMPTY for key, value in config.items()):
        return None
    parts = json.loads(content)
    given = {key: _content(config[key]) for key in _NAMED if key in config}
    special = {**_SPECIAL.get(kind, {}), **given}
    if not _has_tokens(parts, config, special, kind in _WHOLE):
        return None
    if parts["post_processor"] is None:
        return None
    try:
        backend = Tokenizer.from_buffer(content)
    except Exception:
        return None
    if kind == "AlbertTokenizer" and not _is_albert(parts, config, backend):
        return None
    if kind == "BertTokenizer" and not _is_bert(parts, config, backend, special):
        return None
    found = {name: token and backend.token_to_id(token) for name, token in special.items()}
    ids: dict[str, int] = {name: each for name, each in found.items() if isinstance(each, int)}
    longest = config.get("model_max_length")
    names = config.get("model_input_names") or _INPUTS[kind == "BertTokenizer"]
    return PlainTokenizer(
        backend,
        ids.get("unk_token"),
        ids,
        longest if type(longest) is int else None,
        "token_type_ids" in names,
        kind not in _WHOLE,
    )


def _content(token: Any) -> str | None:
    """Return the text of a special token, which may be an object."""
    found = token["content"] if isinstance(token, dict) else token
    if found is not None and not isinstance(found, str):
        raise TypeError(found)
    return found


def _has_tokens(
    parts: dict[str, Any],
    config: dict[str, Any],
    special: dict[str, str | None],
    whole: bool,
) -> bool:
    """Return whether all special tokens are in the file, as transformers would add them.

    Args:
        parts: the content of the ``tokenizer.json``.
        config: the tokenizer's config.
        special: the special tokens by name.
        whole: whether transformers takes the tokens as they are in the file.
    """
    added = {token["id"]: {key: token[key] for key in _ADDED} for token in parts["added_tokens"]}
    decoder = config.get("added_tokens_decoder")
    if decoder is not None:
        told = {int(each): {key: token[key] for key in _ADDED} for each, token in decoder.items()}
        if told != added:
            return False
    named = {token for token in special.values() if token is not None}
    if not named <= {token["content"] for token in added.values() if token["special"]}:
        return False
    if whole:
        return True
    vocabulary = parts["model"]["vocab"]
    if isinstance(vocabulary, list):
        return all(vocabulary[each][0] == token["content"] for each, token in added.items())
    return all(vocabulary.get(token["content"]) == each for each, token in added.items())


def _is_albert(parts: dict[str, Any], config: dict[str, Any], backend: Any) -> bool:
    """Return whether the steps of a tokenizer are those of transformers' AlbertTokenizer."""
    model = parts["model"]
    if model["type"] != "Unigram" or model["unk_id"] != 1 or model.get("byte_fallback"):
        return False
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": quotes}, "content": '"'}
        for quotes in ("``", "''")
    ]
    if not config.get("keep_accents", False):
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if config.get("do_lower_case", True):
        steps.append({"type": "Lowercase"})
    found = _state(backend.normalizer)["normalizers"]
    if found[-1:] == [_JOINED_BLANKS]:
        # transformers leaves it out. It changes nothing, since words are split at white space.
        found = found[:-1]
    if len(found) == len(steps) + 1 and found[-1]["type"] == "Precompiled":
        # Its table is taken from the file.
        found = found[:-1]
    scheme = "always" if config.get("add_prefix_space", True) else "never"
    mark = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": True}
    splits = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, mark]}
    return bool(found == steps and _state(backend.pre_tokenizer) == splits)


def _is_bert(
    parts: dict[str, Any], config: dict[str, Any], backend: Any, special: dict[str, str | None]
) -> bool:
    """Return whether the steps of a tokenizer are those of transformers' BertTokenizer."""
    model, end = parts["model"], parts["post_processor"]
    cls, sep = special["cls_token"], special["sep_token"]
    ids = [backend.token_to_id(cls), backend.token_to_id(sep)]
    if end["type"] == "BertProcessing":
        framed = end["cls"] == [cls, ids[0]] and end["sep"] == [sep, ids[1]]
    else:
        tokens = [{"SpecialToken": {"id": each, "type_id": 0}} for each in (cls, sep)]
        framed = (
            end["type"] == "TemplateProcessing"
            and end["single"] == [tokens[0], {"Sequence": {"id": "A", "type_id": 0}}, tokens[1]]
            and [end["special_tokens"][each]["ids"] for each in (cls, sep)] == [ids[:1], ids[1:]]
        )
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
        "lowercase": config.get("do_lower_case", True),
    }
    return bool(
        framed
        and model["type"] == "WordPiece"
        and model["unk_token"] == special["unk_token"]
        and model["continuing_subword_prefix"] == "##"
        and model["max_input_chars_per_word"] == _LONGEST_WORD
        and _state(backend.normalizer) == normalizer
        and _state(backend.pre_tokenizer) == {"type": "BertPreTokenizer"}
    )


def _state(step: Any) -> Any:
    """Return a step as JSON, in the form of this version of tokenizers."""
    return json.loads(step.__getstate__())
