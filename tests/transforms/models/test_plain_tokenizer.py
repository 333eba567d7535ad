"""Tokenizers that are read without transformers, against transformers' own."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AlbertTokenizer, AutoTokenizer

from tests.support.models import make_model, make_texts
from tests.transforms.models.test_tokenizer import bert_like, train_with_charsmap
from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.plain_tokenizer import PlainTokenizer, load_plain_tokenizer
from transforms.models.resolve import find_folder
from transforms.training.vocabulary import pieces

#: What the steps of a tokenizer treat differently.
TEXTS = [
    *make_texts(20, longest=8),
    *(
        "",
        "ALBERT's ``Quoted'' naïve café CAFÉ",
        "  two  spaces\tand\nlines ",
        "日本語 हिन्दी İ ß ﬁ ½",
    ),
    *(
        "a[MASK]b [MASK] <unk> [CLS](x) <pad> [mask] [PAD][UNK]",
        "x" * 150,
        "no\u00a0break\u200bwidth",
    ),
]
ALBERT, BERT = "AlbertTokenizer", "BertTokenizer"


def albert_like() -> Any:
    """A Unigram tokenizer with ALBERT's steps."""
    return AlbertTokenizer(vocab=pieces(train_with_charsmap()))


def write(folder: Path, tokenizer: Any, family: str, **changes: Any) -> Path:
    """Save a tokenizer beside a config of its family; change keys of its config."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    config = {"model_type": family, "vocab_size": len(tokenizer)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    change(folder / "tokenizer_config.json", changes)
    return folder


def change(path: Path, changes: dict[str, Any]) -> None:
    """Change keys of a JSON file; None removes a key."""
    found = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {key: value for key, value in found.items() if key not in changes or value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def assert_same(plain: PlainTokenizer, folder: Path) -> None:
    expected = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = expected(text)["input_ids"]
        assert plain.backend.encode(text).ids == ids, text
    assert plain.unknown == expected.unk_token_id
    assert plain.backend.get_vocab() == expected.get_vocab()


@pytest.mark.parametrize(("make", "family"), [(albert_like, "albert"), (bert_like, "bert")])
def test_ids_are_those_of_transformers(tmp_path: Path, make: Any, family: str) -> None:
    folder = write(tmp_path, make(), family)
    plain = load_plain_tokenizer(str(folder), "tiny")
    assert plain is not None
    assert_same(plain, folder)


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_tokenizer_of_no_class_is_taken_whole(tmp_path: Path, family: str) -> None:
    folder = make_model(tmp_path, family)
    plain = load_plain_tokenizer(str(folder), "tiny")
    assert plain is not None
    assert_same(plain, folder)


def test_the_shipped_tokenizer_is_read_without_transformers() -> None:
    folder, _ = find_folder(ModelOptions(DEFAULT_MODEL))
    plain = load_plain_tokenizer(folder, DEFAULT_MODEL)
    assert plain is not None
    assert_same(plain, Path(folder))


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "do_lower_case": st.sampled_from([True, False, None, 0]),
        "keep_accents": st.sampled_from([True, False, None]),
        "strip_accents": st.sampled_from([True, False, None]),
        "tokenize_chinese_chars": st.sampled_from([True, False, None]),
        "add_prefix_space": st.sampled_from([True, False, None]),
        "tokenizer_class": st.sampled_from(
            [ALBERT, BERT, f"{BERT}Fast", "PreTrainedTokenizerFast", "TokenizersBackend", None]
        ),
        "unk_token": st.sampled_from(["<unk>", "[UNK]", "[MASK]", "new", None]),
        "mask_token": st.sampled_from(
            ["[MASK]", {"__type": "AddedToken", "content": "[MASK]", "lstrip": True}, "x", None]
        ),
        "bos_token": st.sampled_from(["[CLS]", "<s>", None]),
        "additional_special_tokens": st.sampled_from([[], ["river"], ["[MASK]"]]),
        "split_special_tokens": st.sampled_from([True, None]),
        "model_max_length": st.sampled_from([4, 512]),
        "truncation_side": st.sampled_from(["left", "right"]),
        "added_tokens_decoder": st.sampled_from([{}, {"0": {"content": "<pad>"}}]),
    },
)


@given(st.sampled_from(["albert", "bert"]), CHANGES)
@settings(deadline=None, max_examples=80)
def test_a_changed_config_gives_the_ids_of_transformers_or_is_left_to_it(
    family: str, changes: dict[str, Any]
) -> None:
    make = {"albert": albert_like, "bert": bert_like}[family]
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), make(), family, **changes)
        plain = load_plain_tokenizer(name, "tiny")
        if plain is not None:
            assert_same(plain, folder)


def test_an_old_map_of_special_tokens_is_followed(tmp_path: Path) -> None:
    folder = write(tmp_path, bert_like(), "bert", added_tokens_decoder=None)
    path = folder / "special_tokens_map.json"
    path.write_text(json.dumps({"unk_token": "[UNK]", "cls_token": {"content": "[CLS]"}}))
    plain = load_plain_tokenizer(str(folder), "tiny")
    assert plain is not None
    assert_same(plain, folder)
    path.write_text(json.dumps({"unk_token": "[NEW]"}))
    assert load_plain_tokenizer(str(folder), "tiny") is None


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("normalizer", {"type": "Lowercase"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("post_processor", None),
        ("added_tokens", []),
        ("model", {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}),
        ("model", "broken"),
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["albert", "bert"])
def test_other_steps_are_left_to_transformers(
    tmp_path: Path, family: str, part: str, value: Any
) -> None:
    folder = write(tmp_path, {"albert": albert_like, "bert": bert_like}[family](), family)
    assert load_plain_tokenizer(str(folder), "tiny") is not None
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**found, part: value}), encoding="utf-8")
    assert load_plain_tokenizer(str(folder), "tiny") is None


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, bert_like(), "bert")
    change(folder / "config.json", {"vocab_size": 10})
    with pytest.raises(BadInput) as caught:
        load_plain_tokenizer(str(folder), "tiny")
    assert (caught.value.option, caught.value.value) == ("model", "tiny")
    assert "word vectors" in caught.value.problem
