"""Configs that are read without transformers, against transformers' own."""

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig

from tests.support.models import make_model
from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.plain_config import PlainConfig, load_plain_config, plain_config
from transforms.models.resolve import find_folder

NAMES = [field.name for field in fields(PlainConfig)]
OF_ALBERT = {"embedding_size", "num_hidden_groups", "inner_group_num"}
#: Values of the wrong type, of the wrong size, and plain ones.
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 64), st.floats(0, 2), st.sampled_from(["12", "gelu"])
)


def as_transformers(found: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(found), encoding="utf-8")
        return AutoConfig.from_pretrained(folder)


@given(
    st.sampled_from(["albert", "bert"]),
    st.dictionaries(st.sampled_from([*NAMES[1:], "architectures", "is_decoder"]), VALUES),
)
@settings(deadline=None, max_examples=150)
def test_a_config_is_that_of_transformers_or_left_to_it(
    family: str, given_values: dict[str, Any]
) -> None:
    found = {**given_values, "model_type": family}
    plain = plain_config(found)
    if plain is None:
        return
    expected = as_transformers(found)
    for name in NAMES:
        if name in OF_ALBERT and family == "bert":
            assert getattr(plain, name) in (None, 1)
        elif hasattr(expected, name):
            assert getattr(plain, name) == getattr(expected, name), name
    assert not getattr(expected, "is_decoder", False)


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_saved_model_is_read_without_transformers(tmp_path: Path, family: str) -> None:
    folder = make_model(tmp_path, family)
    config = load_plain_config(str(folder), "tiny")
    assert config is not None
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == (family, 48, 3)


def test_the_shipped_model_is_read_without_transformers() -> None:
    folder, _ = find_folder(ModelOptions(DEFAULT_MODEL))
    config = load_plain_config(folder, DEFAULT_MODEL)
    assert config is not None
    assert config.hidden_act == "gelu"


@pytest.mark.parametrize(
    "unusual",
    [
        {"model_type": "roberta"},
        {"model_type": ["bert"]},
        {"is_decoder": True},
        {"architectures": ["BertLMHeadModel"]},
        {"architectures": ["JinaBertModel"]},
        {"position_embedding_type": "relative_key"},
        {"auto_map": {"AutoModel": "modeling.Other"}},
        {"hidden_size": 50, "num_attention_heads": 12},
        {"hidden_size": "48"},
        {"layer_norm_eps": 1},
    ],
    ids=str,
)
def test_what_is_unusual_is_left_to_transformers(unusual: dict[str, Any]) -> None:
    usual = {"model_type": "bert", "architectures": ["BertModel"]}
    assert plain_config(usual) is not None
    assert plain_config({**usual, **unusual}) is None


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_groups": 9}))
    with pytest.raises(BadInput) as caught:
        load_plain_config(str(folder), "tiny")
    assert (caught.value.option, caught.value.value) == ("model", "tiny")
    assert "num_hidden_groups" in caught.value.problem
