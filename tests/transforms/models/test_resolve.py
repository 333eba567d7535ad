"""Which models are found, with which settings, and which are refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from tests.support.models import make_model, make_texts
from tests.support.raising import raises
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import find_model, options_for


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


@pytest.fixture
def sentence_folder(tmp_path: Path, folder: Path) -> Path:
    transformer = Transformer(str(folder), max_seq_length=40)
    model = SentenceTransformer(
        modules=[transformer, Pooling(48, pooling_mode="cls"), Normalize()],
        prompts={"query": "ask ", "document": "read "},
        device="cpu",
    )
    model.save(str(tmp_path / "sentence"))
    return tmp_path / "sentence"


def test_a_plain_folder_gives_mean_pooling_of_256_tokens_at_most(folder: Path) -> None:
    model = find_model(ModelOptions(str(folder)))
    identity = model.identity
    assert (identity.pooling, identity.layer, identity.normalize) == ("mean", -1, True)
    # The tiny model has 128 positions.
    assert identity.max_tokens == 128
    assert model.notice == ""
    assert find_model(ModelOptions(str(folder), max_tokens=999)).notice.startswith(
        "--max-tokens 999"
    )
    assert identity.dim == 48


def test_a_sentence_transformers_folder_gives_its_own_settings(sentence_folder: Path) -> None:
    identity = find_model(ModelOptions(str(sentence_folder))).identity
    assert (identity.pooling, identity.normalize, identity.max_tokens) == ("cls", True, 40)
    assert (identity.query_prompt, identity.passage_prompt) == ("ask ", "read ")


def test_options_win_over_the_folder(sentence_folder: Path) -> None:
    options = ModelOptions(
        str(sentence_folder), pooling="max", normalize=False, max_tokens=20, query_prompt=""
    )
    identity = find_model(options).identity
    assert (identity.pooling, identity.normalize, identity.max_tokens) == ("max", False, 20)
    assert (identity.query_prompt, identity.passage_prompt) == ("", "read ")


def test_vectors_are_those_of_sentence_transformers(sentence_folder: Path) -> None:
    texts = make_texts(20, seed=6)
    theirs = SentenceTransformer(str(sentence_folder), device="cpu")
    encoder = load_encoder(
        find_model(ModelOptions(str(sentence_folder))), Placement("cpu", "float32")
    )
    ours = encoder.encode_texts(texts, encoder.identity.passage_prompt)
    expected = theirs.encode(texts, prompt_name="document")
    assert (ours * expected).sum(1).min() >= 0.999999


def test_older_pooling_settings_are_read(sentence_folder: Path) -> None:
    (sentence_folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True})
    )
    assert find_model(ModelOptions(str(sentence_folder))).identity.pooling == "max"


def test_identities_differ_by_what_decides_a_vector_and_not_by_place(folder: Path) -> None:
    identity = find_model(ModelOptions(str(folder))).identity
    moved = replace(identity, name="elsewhere", revision="abc")
    assert identity.difference(moved) == ""
    other = find_model(ModelOptions(str(folder), pooling="cls")).identity
    assert identity.difference(other) == "pooling: 'mean', 'cls'"
    assert find_model(options_for(other)).identity == other


def test_the_default_model_is_small_has_a_name_and_embeds_exactly() -> None:
    model = find_model(ModelOptions(DEFAULT_MODEL))
    assert (model.identity.name, model.identity.dim) == (DEFAULT_MODEL, 384)
    assert (model.identity.pooling, model.identity.normalize) == ("mean", True)
    assert model.identity.max_tokens == 256
    assert model.dtype == ""
    (weights,) = Path(model.folder).glob("*.safetensors")
    assert weights.stat().st_size < 12e6
    assert sum(array.size for array in load_file(weights).values()) <= 6_000_000
    # As it is, sentence-transformers would compute in the float16 that the weights are kept in.
    theirs = SentenceTransformer(model.folder, device="cpu", model_kwargs={"dtype": "float32"})
    texts = ["How do I parse JSON from a string?", "The river rose after a week of rain."]
    ours = load_encoder(model, Placement("cpu", "float32")).encode_texts(texts)
    assert (ours * theirs.encode(texts)).sum(1).min() >= 0.999999


def test_the_same_layer_has_one_name(folder: Path) -> None:
    assert find_model(ModelOptions(str(folder), layer=3)).identity.layer == -1
    assert find_model(ModelOptions(str(folder), layer=0)).identity.layer == -4


def add_dense(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.append(
        {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.Dense"}
    )
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (add_dense, "has a Dense module"),
        (
            lambda f: (f / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}'),
            "pools by 'lasttoken'",
        ),
        (
            lambda f: change_json(f / "1_Pooling" / "config.json", include_prompt=False),
            "include_prompt",
        ),
        (
            lambda f: (f / "sentence_bert_config.json").write_text('{"do_lower_case": true}'),
            "do_lower_case",
        ),
        (lambda f: (f / "modules.json").write_text("{"), "is not JSON"),
    ],
)
def test_folders_that_albeam_can_not_follow_are_refused(
    sentence_folder: Path, damage: Any, message: str
) -> None:
    damage(sentence_folder)
    with pytest.raises(BadInput) as caught:
        find_model(ModelOptions(str(sentence_folder)))
    assert caught.value.value in (str(sentence_folder), str(sentence_folder / "modules.json"))
    assert message in caught.value.problem


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "has no .safetensors weights"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (
            lambda f: change_json(f / "config.json", model_type="nonesuch"),
            "config that transformers can't read",
        ),
        (
            lambda f: change_json(f / "config.json", is_decoder=True),
            "is a decoder (type 'albert')",
        ),
    ],
)
def test_models_that_can_not_embed_are_refused_by_name(
    folder: Path, damage: Any, message: str
) -> None:
    damage(folder)
    with pytest.raises(BadInput) as caught:
        find_model(ModelOptions(str(folder)))
    assert (caught.value.option, caught.value.value) == ("model", str(folder))
    assert message in caught.value.problem


@pytest.mark.parametrize("name", ["./nonesuch", "/nonesuch/at/all", "nonesuch/model"])
def test_a_model_that_is_nowhere_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_model(ModelOptions(name))
    assert (caught.value.option, caught.value.value) == ("model", name)


def test_a_hub_name_is_found_by_its_revision_and_pinned_to_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hub's cache as huggingface_hub lays it out: what is in it needs no network.
    commits = ["a" * 40, "b" * 40]
    cache = tmp_path / "models--albeam--tiny"
    for seed, commit in enumerate(commits):
        make_model(cache / "snapshots" / commit, seed=seed)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commits[1])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    newest = find_model(ModelOptions("albeam/tiny")).identity
    older = find_model(ModelOptions("albeam/tiny", revision=commits[0])).identity
    assert (newest.name, newest.revision) == ("albeam/tiny", commits[1])
    assert older.revision == commits[0]
    assert older.weights_sha256 != newest.weights_sha256
    (cache / "refs" / "main").write_text(commits[0])
    assert find_model(options_for(newest)).identity == newest


def test_a_worker_with_another_model_at_the_same_place_says_so(folder: Path) -> None:
    identity = find_model(ModelOptions(str(folder))).identity
    make_model(folder, seed=1)
    with pytest.raises(BadInput) as caught:
        find_model(options_for(identity))
    assert (caught.value.option, caught.value.value) == ("model", identity.name)
    assert "weights_sha256" in caught.value.problem


@pytest.mark.parametrize("layer", [4, -5])
def test_a_layer_that_is_not_there_is_refused(folder: Path, layer: int) -> None:
    with pytest.raises(BadInput) as caught:
        find_model(ModelOptions(str(folder), layer=layer))
    assert (caught.value.option, caught.value.value) == ("layer", layer)
    assert "3 layers" in caught.value.problem


@pytest.mark.parametrize(
    ("make", "option", "value"),
    [
        (lambda: ModelOptions("m", pooling="sum"), "pooling", "sum"),
        (lambda: ModelOptions("m", max_tokens=0), "max_tokens", 0),
        (lambda: Placement(device="tpu"), "device", "tpu"),
        (lambda: Placement(dtype="int4"), "dtype", "int4"),
    ],
    ids=["pooling", "max_tokens", "device", "dtype"],
)
def test_options_check_themselves(make: Callable[[], object], option: str, value: object) -> None:
    with pytest.raises(BadInput) as caught:
        make()
    assert (caught.value.option, caught.value.value) == (option, value)


@pytest.mark.parametrize(
    ("file", "problem"), [("head.json", "is a head"), ("notes.txt", "no config.json")]
)
def test_a_folder_without_a_model_is_told_from_a_head(
    tmp_path: Path, file: str, problem: str
) -> None:
    (tmp_path / file).write_text("{}")
    with raises(BadInput, "model", tmp_path, problem):
        find_model(ModelOptions(str(tmp_path)))
