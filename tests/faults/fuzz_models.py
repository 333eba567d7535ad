"""Model folders with random changes, which load as they are or end in an error that names them.

Run as ``python -m tests.faults.fuzz_models [--seed N] [--count N] [--only N]``. A folder has no
digests of its own, so that a change may give other vectors. It must not end the process, take its
memory or its time, reach a file outside the folder, or run code.
"""

import atexit
import json
import os
import pickle
import random
import shutil
import struct
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.faults.fuzz_harness import (
    CHANGED,
    SAME,
    Fuzzer,
    Wrong,
    command,
    copy_tree,
    in_child,
    mutate_bytes,
)
from tests.support.models import make_model, make_pair_model
from transforms.encoder.encoder import load_encoder
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.search.reader import Reader
from transforms.search.reranker import Reranker
from transforms.training.contrastive import load_tokenizer
from transforms.training.export import read_model

EXACT = Placement("cpu", "float32")
KINDS = ("albert", "bert", "distilbert", "roberta", "sentence", "rank", "read", "start")
TEXTS = ["river stone", "", "The naïve doctor's 12 letters, and well-known music!" * 3]
PAIRS = [("which river", text or "none") for text in TEXTS]
_VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 255, 256, 4_096, 65_537, 10**6, 10**9, 2**31, 2**63, 10**30, 0.5, -0.0),
    *(float("nan"), float("inf"), 1e308, "", "x", "albert", "../../outside/value.json", None),
    *(True, False, [], {}, [1] * 1_000, {"a": {"b": [None]}}, "a" * 10_000, "\x00", "gelu"),
)
#: What a config may ask for that albeam must not follow.
_ASKED: tuple[tuple[str, str, Any], ...] = (
    ("config.json", "auto_map", {"AutoConfig": "code.C", "AutoModel": "code.C"}),
    ("config.json", "quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
    ("config.json", "transformers_weights", "../../outside/precious"),
    ("config.json", "attn_implementation", "someone/kernel"),
    ("config.json", "_attn_implementation", "flash_attention_2"),
    ("config.json", "configuration_files", ["config.json", "../../outside/config.4.0.0.json"]),
    ("config.json", "model_type", "bert"),
    ("config.json", "num_labels", 10**7),
    ("config.json", "architectures", ["T5ForConditionalGeneration"]),
    ("config.json", "is_decoder", True),
    ("config.json", "pruned_heads", {"0": [0, 1]}),
    ("config.json", "chunk_size_feed_forward", 10**9),
    ("config.json", "output_attentions", True),
    ("config.json", "gguf_file", "../../outside/precious"),
    ("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["code.C", "code.C"]}),
    ("tokenizer_config.json", "tokenizer_class", "BertJapaneseTokenizer"),
    ("tokenizer_config.json", "tokenizer_class", "LlamaTokenizer"),
    ("tokenizer_config.json", "tokenizer_file", "../../outside/value.json"),
    ("tokenizer_config.json", "vocab_file", "{outside}/value.json"),
    ("tokenizer_config.json", "init_inputs", ["{outside}/value.json"]),
    ("tokenizer_config.json", "fast_tokenizer_files", ["tokenizer.{outside}/value.json"]),
    ("tokenizer_config.json", "model_max_length", -1),
    ("tokenizer_config.json", "added_tokens_decoder", {"999999999": {"content": "x"}}),
    ("tokenizer_config.json", "extra_special_tokens", {"a": "{outside}"}),
    ("tokenizer.json", "truncation", {"max_length": 0, "strategy": "LongestFirst", "stride": 9}),
    ("tokenizer.json", "padding", {"strategy": {"Fixed": 10**10}, "direction": "Right"}),
    ("tokenizer.json", "normalizer", {"type": "Prepend", "prepend": "a" * 10**6}),
    ("tokenizer.json", "normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    ("tokenizer.json", "pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}}),
    ("tokenizer.json", "post_processor", {"type": "BertProcessing", "sep": ["x", 10**9]}),
    ("adapter_config.json", "base_model_name_or_path", "../../outside"),
    ("modules.json", "path", "../../outside"),
)


@cache
def bases(kinds: tuple[str, ...]) -> tuple[Path, dict[str, Any]]:
    """Make a sound folder of each kind; return where they are, and what each gives."""
    folder = Path(tempfile.mkdtemp(prefix="albeam-fuzz-bases-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, in_child(lambda: {kind: _base(folder / kind) for kind in kinds})


def _base(folder: Path) -> Any:
    torch.set_num_threads(1)
    kind = folder.name
    if kind in ("rank", "read"):
        make_pair_model(folder, kind, 1 if kind == "rank" else 2)
    else:
        make_model(folder, kind if kind in KINDS[:4] else "albert")
    if kind == "sentence":
        modules = [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.Pooling"},
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
        (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
        prompts = {"prompts": {"query": "ask: ", "document": "say: "}}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return _answer(folder)


def _answer(folder: Path) -> Any:
    """Return what a command makes of a model."""
    if folder.name == "rank":
        return Reranker(str(folder), EXACT).scores(PAIRS)
    if folder.name == "read":
        return [found.score if found else 0 for found in Reader(str(folder), EXACT).spans(PAIRS)]
    if folder.name == "start":
        config, weights = read_model(folder)
        load_tokenizer(folder, config.vocab_size)
        return np.concatenate([weights[name].ravel()[:50] for name in sorted(weights)])
    model = find_model(ModelOptions(str(folder)))
    return load_encoder(model, EXACT).encode_texts(TEXTS, model.identity.passage_prompt)


def change(kinds: tuple[str, ...], chosen: random.Random, work: Path, outside: Path) -> str:
    """Copy a folder, and change some of its files."""
    kind = chosen.choice(kinds)
    folder = work / kind
    copy_tree(bases(kinds)[0] / kind, folder)
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(outside / 'ran')!r})\nclass C: pass")
    changes = (_bytes, _json, _json, _json, _asked, _header, _link, _index)
    done = [
        chosen.choice(changes)(chosen, folder, outside) for _ in range(chosen.choice((1, 1, 2)))
    ]
    return f"{kind}: {', '.join(done)}"


def _files(folder: Path, *ends: str) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if path.name.endswith(ends or ("",)) and path.name != "code.py"]


def _bytes(chosen: random.Random, folder: Path, _: Path) -> str:
    path = chosen.choice(_files(folder))
    content, what = mutate_bytes(chosen, path.read_bytes())
    path.unlink()
    if chosen.random() < 0.1:
        return f"{path.name} removed"
    path.write_bytes(content)
    return f"{path.name}: {what}"


def _json(chosen: random.Random, folder: Path, _: Path) -> str:
    path = chosen.choice(_files(folder, ".json"))
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return f"{path.name} is no JSON"
    if chosen.random() < 0.05:
        depth = chosen.choice((10, 100, 1_000, 100_000))
        path.write_bytes(b'{"a":' * depth + b"1" + b"}" * depth)
        return f"{path.name} is {depth} deep"
    holder, key = chosen.choice(list(_places(value)) or [({"": 0}, "")])
    old, new = holder[key], chosen.choice(_VALUES)
    what = f"{path.name}: {str(key)[:40]} {str(old)[:40]!r} became {str(new)[:40]!r}"
    if chosen.random() < 0.15:
        del holder[key]
        what = f"{path.name}: {str(key)[:40]} removed"
    else:
        holder[key] = new
    path.unlink()
    path.write_text(json.dumps(value))
    return what


def _places(value: Any) -> Any:
    """Yield each place in a JSON value; of a long list only some."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:5])
    for key, each in inner:
        yield value, key
        if isinstance(each, dict | list):
            yield from _places(each)


def _asked(chosen: random.Random, folder: Path, outside: Path) -> str:
    name, key, value = chosen.choice(_ASKED)
    path = folder / name
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        found = {}
    value = json.loads(json.dumps(value).replace("{outside}", str(outside)))
    if isinstance(found, list):
        found = [dict(each, **{key: value}) for each in found if isinstance(each, dict)]
    else:
        found[key] = value
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(found))
    return f"{name} asks for {key}"


def _header(chosen: random.Random, folder: Path, _: Path) -> str:
    path = folder / "model.safetensors"
    content = path.read_bytes() if path.is_file() else b""
    if len(content) < 8:
        return "no header"
    length = min(struct.unpack_from("<Q", content)[0], len(content) - 8)
    try:
        value = json.loads(content[8 : 8 + length])
        holder, key = chosen.choice(list(_places(value)))
        holder[key] = chosen.choice((*_VALUES, "F64", "BOOL", "I64", [1 << 40], [0, 1 << 40]))
    except (ValueError, IndexError):
        return "no header"
    made = json.dumps(value).encode()
    size = chosen.choice((len(made), len(made), len(made), 0, 1 << 40, 2**64 - 1))
    path.unlink()
    path.write_bytes(struct.pack("<Q", size) + made + content[8 + length :])
    return f"model.safetensors: header with another {key}"


def _link(chosen: random.Random, folder: Path, outside: Path) -> str:
    path = chosen.choice(_files(folder))
    target = chosen.choice((outside / path.name, Path("/dev/zero"), Path("/dev/full"), outside))
    content = path.read_bytes()
    path.unlink()
    if chosen.random() < 0.2:
        os.mkfifo(path)
        return f"{path.name} is a FIFO"
    if target.parent == outside and target.name in ("precious", "value.json"):
        target.write_bytes(content)
    path.symlink_to(target)
    return f"{path.name} links to {target.name}"


def _index(chosen: random.Random, folder: Path, outside: Path) -> str:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return "no weights"
    if chosen.random() < 0.8:
        weights.rename(folder / "a.safetensors")
    (folder / "pickle.bin").write_bytes(pickle.dumps(_Trap(str(outside / "ran"))))
    names = ("a.safetensors", "pickle.bin", str(outside / "precious"), "../../outside/precious", 3)
    name = chosen.choice(names)
    index: dict[str, Any] = {"metadata": {}, "weight_map": {"x": name, "y": "a.safetensors"}}
    if chosen.random() < 0.2:
        index[chosen.choice(list(index))] = chosen.choice(_VALUES)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return f"an index names {str(name)[-20:]}"


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


def use(kinds: tuple[str, ...], work: Path, _: str) -> str:
    """Load a model as a command does, and compute with it."""
    torch.set_num_threads(1)
    [folder] = work.iterdir()
    answer, expected = _answer(folder), bases(kinds)[1][folder.name]
    if not np.isfinite(np.asarray(answer, np.float64)).all():
        raise Wrong("vectors or scores that are not finite")
    return SAME if np.array_equal(answer, expected) else CHANGED


def fuzzer(kinds: tuple[str, ...] = KINDS) -> Fuzzer:
    """Return the fuzzer of model folders of these kinds."""
    bases(kinds)
    return Fuzzer("models", partial(change, kinds), partial(use, kinds), seconds=40)


if __name__ == "__main__":
    command([fuzzer], __doc__)
