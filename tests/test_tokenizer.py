"""Token ids and offsets against transformers' own."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.models import make_model, make_tokenizer
from transforms.errors import BadInput
from transforms.model import ModelOptions, find_model
from transforms.tokenizer import Tokenizer, load_tokenizer

TOKENIZER = Tokenizer(make_tokenizer().backend_tokenizer)
REFERENCE = make_tokenizer()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), max_size=5))
@settings(deadline=None)
def test_ids_and_offsets_are_those_of_transformers(texts: list[str]) -> None:
    found = TOKENIZER.encode(texts)
    for text, tokens in zip(texts, found, strict=True):
        expected = REFERENCE(text, add_special_tokens=False, return_offsets_mapping=True)
        assert tokens.ids == expected["input_ids"]
        assert tokens.offsets == expected["offset_mapping"]


def test_framed_ids_are_those_of_transformers_cut_at_the_limit(albert: Path) -> None:
    tokenizer = load_tokenizer(find_model(ModelOptions(str(albert))))
    reference = AutoTokenizer.from_pretrained(albert)
    texts = ["river stone", "", "music " * 50]
    assert tokenizer.encode_framed(texts, 16) == [
        reference(text, truncation=True, max_length=16)["input_ids"] for text in texts
    ]
    assert tokenizer.special_tokens == 2


def test_a_lone_surrogate_is_an_error_that_says_where() -> None:
    with pytest.raises(BadInput, match=r"text 1 has a lone surrogate U\+D800 at character 2"):
        TOKENIZER.encode(["fine", "ab\ud800"])


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    other = make_tokenizer()
    other.add_tokens([f"extra{number}" for number in range(40)])
    other.save_pretrained(folder)
    with pytest.raises(BadInput, match=r"has \d+ word vectors but its tokenizer \d+ pieces"):
        load_tokenizer(find_model(ModelOptions(str(folder))))
