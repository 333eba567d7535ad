"""Token ids and offsets against transformers' own."""

import io
import logging
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
from transformers import AlbertTokenizer, AutoTokenizer, BertTokenizer

from tests.models import WORDS, make_model, make_tokenizer
from transforms import tokenizer as tokenizer_module
from transforms import words
from transforms.errors import BadInput
from transforms.locality import find_locality
from transforms.model import DEFAULT_MODEL, ModelOptions, find_model
from transforms.tokenizer import Tokenizer, load_tokenizer
from transforms.vocabulary import pieces

LETTERS = st.characters(exclude_categories=["Cs"])
#: What a split at white space could get wrong.
ODD = st.sampled_from(
    [
        *" \t\n\r\v\f\x00\x01\x1c\x1f\x85\xa0\xad\u1680\u180e\u2003\u2028\u202f\u3000\ufeff\ufffd",
        *("\u200b", "\u200c", "\u200d", "\u2060", "\u0600", "\u0d4e", "\U000110bd", "\U000111c2"),
        *("\u0301", "\u0327", "\u0345", "\u0903", "\u0e33", "\u20dd", "\u3099", "\uff9e", "\ufe0f"),
        *("\xa8", "\xb4", "\u02d8", "\u037a", "\u1fbd", "\u2017", "\u203e", "\ufc5e", "\ufe70"),
        *("\u1100", "\u1161", "\u11a8", "\U0001f1e9", "\U0001f44d", "\U0001f3fd", "\U000e0041"),
        *("``", "''", "\u2581", "\r\n", "  ", "[MASK]", "[mask]", "<unk>", "[CLS]", "<pad>"),
        *("ﬁ", "½", "Ω", "İ", "ß", "Σ", "ς", "Å", "한", "日本", "हिन्दी", "no\xa0break", "e\u0301"),
    ]
)
WORD = st.one_of(st.sampled_from(WORDS), ODD, LETTERS, st.text(LETTERS, max_size=8))
TEXTS = st.lists(st.lists(WORD, max_size=25).map("".join) | st.text(LETTERS, max_size=80))


def train_with_charsmap() -> bytes:
    """A sentencepiece model with the character map of its NFKC rules, as pretrained ALBERT has."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS[at:] + WORDS[:at]) for at in range(len(WORDS))]),
        model_writer=model, vocab_size=120, normalization_rule_name="nmt_nfkc", minloglevel=2,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="<pad>", bos_piece="[CLS]",
        eos_piece="[SEP]", control_symbols=["[MASK]"], hard_vocab_limit=False,
    )  # fmt: skip
    return model.getvalue()


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of a protobuf message's fields that have a length; others end it."""
    stream = io.BytesIO(message)

    def integer() -> int:
        value = shift = 0
        while byte := stream.read(1):
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                break
            shift += 7
        return value

    while (key := integer()) & 7 == 2:
        yield key >> 3, stream.read(integer())


def pretrained_like(keep_accents: bool) -> Any:
    """A tokenizer with all the steps that transformers gives a pretrained ALBERT."""
    model = train_with_charsmap()
    charsmap = dict(fields(dict(fields(model))[3]))[2]
    assert len(charsmap) > 100_000
    tokenizer = AlbertTokenizer(
        vocab=pieces(model), keep_accents=keep_accents,
        _spm_precompiled_charsmap=charsmap,
    )
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence(
        [backend.normalizer, normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.add_special_tokens(
        {"mask_token": AddedToken("[MASK]", lstrip=True, rstrip=False, normalized=False)}
    )
    tokenizer.add_tokens([AddedToken("(", normalized=False), AddedToken("NASA", normalized=True)])
    return tokenizer


def bert_like() -> Any:
    """A WordPiece tokenizer with BERT's steps."""
    spelt = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "##s", "日", "cafe", "x"]
    spelt += [chr(code) for code in range(33, 127)] + [f"##{chr(n)}" for n in range(97, 123)]
    return BertTokenizer(vocab={piece: place for place, piece in enumerate(dict.fromkeys(spelt))})


KINDS: dict[str, Callable[[], Any]] = {
    "tiny": make_tokenizer,
    "shipped": lambda: AutoTokenizer.from_pretrained(find_model(ModelOptions(DEFAULT_MODEL)).folder),
    "pretrained-like": lambda: pretrained_like(keep_accents=False),
    "accents": lambda: pretrained_like(keep_accents=True),
    "bert": bert_like,
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> tuple[Tokenizer, Any]:
    """A tokenizer and transformers' own of the same kind."""
    make = KINDS[request.param]
    return Tokenizer(make().backend_tokenizer), make()


def assert_same(tokenizer: Tokenizer, reference: Any, texts: list[str]) -> None:
    found = tokenizer.encode(texts)
    assert len(found) == len(texts)
    for text, tokens in zip(texts, found, strict=True):
        expected = reference(text, add_special_tokens=False, return_offsets_mapping=True)
        assert tokens.ids.tolist() == expected["input_ids"], text
        spans = list(zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True))
        assert spans == expected["offset_mapping"], text


@given(TEXTS)
@settings(deadline=None, max_examples=300)
def test_ids_and_offsets_are_those_of_transformers(
    pair: tuple[Tokenizer, Any], texts: list[str]
) -> None:
    assert_same(*pair, texts)


def test_each_kind_has_the_fast_road(pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, reference = pair
    texts = ["The river, naïve Straße.\r\n(日本) no\xa0break  cafe\u0301", "", " \n", "river " * 9]
    assert find_locality(reference.backend_tokenizer).obstacle == ""
    before = tokenizer.slow_texts
    assert tokenizer.encode(texts).slow == 0
    assert tokenizer.encode(["river \u0301", "stone", "\u200driver"]).slow == 2
    assert tokenizer.slow_texts == before + 2
