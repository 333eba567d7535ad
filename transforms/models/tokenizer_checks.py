"""Checks of a tokenizer that anyone may have made: its files, its ids, and the growth of texts."""

import base64
import json
import os
import struct
from collections.abc import Iterator
from typing import Any

from transforms.errors import BadInput
from transforms.models.model_files import inner_path, read_object, refusal, refusing

_CONFIG, _TOKENIZER = "tokenizer_config.json", "tokenizer.json"
#: A normalizer may make a letter at most so many letters; Unicode's own longest form has 18.
_MOST_GROWTH = 1_024
RESTORE = "Restore its tokenizer.json"


def check_tokenizer_files(folder: str, name: str) -> None:
    """Check that a tokenizer's config does not name files outside its folder.

    Old configs name files of the machine that made them, which exist on no other.

    Raises:
        BadInput: it does.
    """
    config = read_object(folder, _CONFIG, name)
    for key, value in config.items():
        if key.endswith("_file") and isinstance(value, str) and os.path.exists(value):
            inner_path(folder, os.path.abspath(value), name)
    files = config.get("fast_tokenizer_files") or []
    if not isinstance(files, list) or any("/" in str(file) for file in files):
        raise refusal(name, _CONFIG, "names files outside its folder as fast_tokenizer_files")
    if config.get("init_inputs"):
        raise refusal(name, _CONFIG, "has init_inputs, which albeam does not follow")


def check_fit(backend: Any, vocabulary: int, name: str) -> None:
    """Check that a ``tokenizers.Tokenizer`` is that of a model with so many word vectors.

    Raises:
        BadInput: it is not, or it may make texts endless.
    """
    pieces = backend.get_vocab_size()
    # Vocabularies are often padded to a round size; more than 1 % means another model.
    if pieces > vocabulary or vocabulary - pieces > vocabulary // 100:
        problem = f"has {vocabulary} word vectors, but its tokenizer has {pieces} pieces"
        raise BadInput("model", name, problem, "Save the model's own tokenizer.json in its folder")
    with refusing(name, "has a tokenizer that can't be used", RESTORE):
        check_ids(backend, vocabulary, name)
        check_growth(backend, name)


def check_ids(backend: Any, vocabulary: int, name: str) -> None:
    """Check that each id of a ``tokenizers.Tokenizer`` has one of ``vocabulary`` word vectors.

    Raises:
        BadInput: one has none.
    """
    ids = [*backend.get_vocab().values(), *backend.encode("a").ids]
    if max(ids, default=0) >= vocabulary:
        problem = f"has the id {max(ids)}, but the model has {vocabulary} word vectors"
        raise refusal(name, _TOKENIZER, problem, "Save the model's own tokenizer.json")


def check_growth(backend: Any, name: str) -> None:
    """Check that the normalizer of a ``tokenizers.Tokenizer`` does not make texts endless.

    Raises:
        BadInput: it may.
    """
    if backend.normalizer is None:
        return
    growth = 1
    for step in _steps(json.loads(backend.normalizer.__getstate__())):
        growth *= max(1, _growth(step))
        if growth > _MOST_GROWTH:
            raise refusal(name, _TOKENIZER, f"makes texts more than {_MOST_GROWTH} times as long")


def _steps(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if step["type"] == "Sequence":
        for inner in step["normalizers"]:
            yield from _steps(inner)
    else:
        yield step


def _growth(step: dict[str, Any]) -> int:
    """Return the most letters that a step makes of one."""
    if step["type"] == "Precompiled":
        content = base64.b64decode(step["precompiled_charsmap"])
        [trie] = struct.unpack_from("<I", content) if len(content) >= 4 else [0]
        return max(map(len, content[4 + trie :].split(b"\0")))
    return max(len(step.get("content") or ""), 1 + len(step.get("prepend") or ""))
