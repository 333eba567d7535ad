"""Model folders that someone else made: each ends in an error that names the file."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import make_model, make_pair_model
from tests.support.raising import raises
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.models.tokenizer import load_tokenizer
from transforms.search.reranker import Reranker
from transforms.training.export import read_model

EXACT = Placement("cpu", "float32")
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "albert")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "albert"))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def config(**changes: Any) -> Change:
    return json_file("config.json", lambda value: value | changes)


def json_file(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / name
        value = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(change(value)))

    return apply


def file(name: str, content: bytes) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return apply


def outside(name: str, content: bytes = b"{}") -> Change:
    """Replace a file by a link to one outside the folder."""

    def apply(folder: Path) -> None:
        path, target = folder / name, folder.parent / "outside"
        target.write_bytes(path.read_bytes() if path.exists() else content)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return apply


def index(*names: str, **others: Any) -> Change:
    def apply(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        value = {"metadata": {}, "weight_map": {str(n): name for n, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(value | others))

    return apply


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        content = path.read_bytes()
        [length] = struct.unpack_from("<Q", content)
        value = json.loads(content[8 : 8 + length])
        change(value)
        made = json.dumps(value).encode()
        path.write_bytes(struct.pack("<Q", len(made)) + made + content[8 + length :])

    return apply


def first(value: dict[str, Any]) -> dict[str, Any]:
    return next(each for name, each in value.items() if name != "__metadata__")


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "tokenizer.json"
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return apply


DEEP = b"[" * 5_000 + b"]" * 5_000
GROWING = [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 60}] * 3

HOSTILE: dict[str, tuple[Change, str]] = {
    "index-outside": (index("../outside.safetensors"), "model.safetensors.index.json"),
    "index-absolute": (index("/etc/passwd"), "model.safetensors.index.json"),
    "index-pickle": (index("model.bin"), "model.safetensors.index.json"),
    "index-gone": (index("gone.safetensors"), "gone.safetensors"),
    "index-kind": (index("x.safetensors", weight_map=[1]), "model.safetensors.index.json"),
    "index-metadata": (index("x.safetensors", metadata=3), "model.safetensors.index.json"),
    "weights-link": (outside("model.safetensors"), "model.safetensors"),
    "config-link": (outside("config.json"), "config.json"),
    "tokenizer-link": (outside("tokenizer.json"), "tokenizer.json"),
    "template-link": (outside("chat_template.jinja"), "chat_template.jinja"),
    "header-long": (file("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}"), "1099511627776"),
    "header-short": (file("model.safetensors", b"abc"), "model.safetensors"),
    "header-list": (file("model.safetensors", struct.pack("<Q", 2) + b"[]"), "model.safetensors"),
    "header-deep": (
        file("model.safetensors", struct.pack("<Q", len(DEEP)) + DEEP),
        "model.safetensors",
    ),
    "header-shape": (header(lambda v: first(v).update(shape=[1 << 40])), "model.safetensors"),
    "header-negative": (header(lambda v: first(v).update(shape=[-1, -1])), "model.safetensors"),
    "header-kind": (header(lambda v: first(v).update(dtype="PICKLE")), "model.safetensors"),
    "header-gap": (
        header(lambda v: first(v).update(data_offsets=[1 << 20, 1 << 20])),
        "model.safetensors",
    ),
    "layers": (config(num_hidden_layers=10**9), "num_hidden_layers"),
    "groups": (config(num_hidden_groups=200), "num_hidden_groups"),
    "inner-groups": (config(inner_group_num=10**9), "inner_group_num"),
    "width": (config(hidden_size=1 << 22), "config.json"),
    "words": (config(vocab_size=1 << 24), "config.json"),
    "words-many": (config(vocab_size=1 << 62), "vocab_size"),
    "positions": (config(max_position_embeddings=1 << 24), "config.json"),
    "inner-width": (config(intermediate_size=1 << 23), "config.json"),
    "heads": (config(num_attention_heads=4_096), "num_attention_heads"),
    "no-heads": (config(num_attention_heads=0), "num_attention_heads"),
    "labels": (config(num_labels=10**9), "num_labels"),
    "text-for-number": (config(hidden_size="48"), "config"),
    "list-for-number": (config(num_hidden_layers=[1, 2]), "config"),
    "architectures": (config(architectures=-1), "files that can't be used"),
    "config-list": (file("config.json", b"[]"), "config.json"),
    "config-deep": (file("config.json", DEEP), "config.json"),
    "config-large": (file("config.json", b" " * (17 << 20)), "config.json"),
    "config-bytes": (file("config.json", b"\xff\xfe\x00"), "config.json"),
    "quantized": (config(quantization_config={"quant_method": "bitsandbytes"}), "quantization"),
    "explicit-weights": (config(transformers_weights="x.safetensors"), "transformers_weights"),
    "kernel": (config(attn_implementation="someone/kernel"), "attn_implementation"),
    "configs": (config(configuration_files=["config.1.0.0.json"]), "configuration_files"),
    "adapter": (file("adapter_config.json", b"{}"), "adapter_config.json"),
    "dtype": (config(albeam_dtype="load"), "albeam_dtype"),
    "modules-outside": (
        json_file("modules.json", lambda _: [{"type": "st.Pooling", "path": "../../etc"}]),
        "leads out of its folder",
    ),
    "modules-kind": (json_file("modules.json", lambda _: {"type": "x"}), "modules.json"),
    "module-kind": (json_file("modules.json", lambda _: [3]), "modules.json"),
    "tokenizer-file": (
        json_file("tokenizer_config.json", lambda v: v | {"vocab_file": "/etc/passwd"}),
        "leads out of its folder",
    ),
    "tokenizer-files": (
        json_file("tokenizer_config.json", lambda v: v | {"fast_tokenizer_files": ["../x.json"]}),
        "fast_tokenizer_files",
    ),
    "tokenizer-inputs": (
        json_file("tokenizer_config.json", lambda v: v | {"init_inputs": ["/etc/passwd"]}),
        "init_inputs",
    ),
    "tokenizer-kind": (tokenizer(lambda v: v.update(model=3)), "tokenizer"),
    "tokenizer-deep": (file("tokenizer.json", DEEP), "tokenizer"),
    "tokenizer-id": (
        tokenizer(lambda v: v["post_processor"]["special_tokens"]["[SEP]"].update(ids=[10**6])),
        "id 1000000",
    ),
    "tokenizer-grows": (
        tokenizer(lambda v: v.update(normalizer={"type": "Sequence", "normalizers": GROWING})),
        "times as long",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_an_error_that_names_the_file(folder: Path, case: str) -> None:
    change, said = HOSTILE[case]
    change(folder)
    with pytest.raises(BadInput) as caught:
        load_encoder(find_model(ModelOptions(str(folder))), EXACT)
    error = caught.value
    assert said in error.problem
    assert (error.option, error.value) == ("model", str(folder))
    assert error.remedy


@pytest.mark.parametrize(
    "case", ["index-outside", "layers", "tokenizer-grows", "weights-link", "architectures"]
)
def test_other_commands_that_take_a_model_check_it_too(
    tmp_path: Path, folder: Path, case: str
) -> None:
    change, said = HOSTILE[case]
    ranker = make_pair_model(tmp_path / "ranker", "rank")
    change(ranker)
    with pytest.raises(BadInput) as caught:
        Reranker(str(ranker), EXACT)
    assert (caught.value.option, caught.value.value) == ("reranker", str(ranker))
    assert said in caught.value.problem
    if case != "tokenizer-grows":
        change(folder)
        with pytest.raises(BadInput):
            read_model(folder)


def test_neither_pickles_nor_code_of_a_folder_run(folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    pickled = pickle.dumps(Trap(trap))
    for name in ("pytorch_model.bin", "model.safetensors.bin", "training_args.bin"):
        (folder / name).write_bytes(pickled)
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(trap)!r})\nclass C: pass\n")
    auto_map = {
        "AutoConfig": "code.C",
        "AutoModel": "code.C",
        "AutoTokenizer": ["code.C", "code.C"],
    }
    config(auto_map=auto_map)(folder)
    json_file("tokenizer_config.json", lambda value: value | {"auto_map": auto_map})(folder)
    load_encoder(find_model(ModelOptions(str(folder))), EXACT)
    assert not trap.exists()
    shutil.move(folder / "model.safetensors", folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"a": "pytorch_model.bin"}})
    )
    with pytest.raises(BadInput):
        find_model(ModelOptions(str(folder)))
    assert not trap.exists()


def test_a_folder_of_the_hub_s_cache_has_links_to_its_blobs(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--albeam--tiny"
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, cache / "blobs" / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    found = find_model(ModelOptions(str(snapshot))).identity
    assert found.weights_sha256 == find_model(ModelOptions(str(folder))).identity.weights_sha256


def test_weights_in_several_files_are_loaded(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    before = find_model(ModelOptions(str(folder)))
    expected = load_encoder(before, EXACT).encode_texts(["river stone"])
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {name: f"model-{n % 2}.safetensors" for n, name in enumerate(sorted(tensors))}
    for file_name in set(names.values()):
        mine = {name: tensors[name] for name in tensors if names[name] == file_name}
        save_file(mine, folder / file_name, {"format": "pt"})
    whole = {"metadata": {"total_size": 1}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(whole))
    model = find_model(ModelOptions(str(folder)))
    assert (load_encoder(model, EXACT).encode_texts(["river stone"]) == expected).all()


@pytest.mark.parametrize("kind", ["pre_tokenizer", "normalizer"])
def test_a_pattern_that_backtracks_without_end_is_an_error(folder: Path, kind: str) -> None:
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text())
    pattern = {"Regex": "(x+x+)+$"}
    value[kind] = {
        "pre_tokenizer": {
            "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False,
        },
        "normalizer": {"type": "Replace", "pattern": pattern, "content": "a"},
    }[kind]  # fmt: skip
    path.write_text(json.dumps(value))
    tokenizer = load_tokenizer(find_model(ModelOptions(str(folder))))
    with raises(BadInput, "model"):
        tokenizer.encode(["x" * 60 + "y"])
