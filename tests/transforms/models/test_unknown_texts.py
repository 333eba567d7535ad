"""Texts that the vocabulary lacks: characters count, whatever the tokens are."""

import pytest

from tests.support.models import make_tokenizer
from transforms.models.tokenizer import Tokenizer
from transforms.models.unknown_texts import mostly_unknown


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    fast = make_tokenizer()
    return Tokenizer(fast.backend_tokenizer, fast.unk_token_id)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("river stone", False),
        # One unknown token may stand for many characters.
        ("東京は日本の首都であり", True),
        ("Привет мир", True),
        ("👍", True),
        ("the capital 東京", False),
        ("at 東京は日本の首都", True),
        ("naïve café", False),
        ("", True),
    ],
)
def test_a_text_is_unknown_if_half_of_it_is(tokenizer: Tokenizer, text: str, unknown: bool) -> None:
    tokens = tokenizer.encode(["river", text, "river"])
    assert mostly_unknown(tokens, tokenizer.unknown).tolist() == [False, unknown, False]


def test_a_prompt_does_not_count(tokenizer: Tokenizer) -> None:
    prompt = "a long prompt of many words: "
    tokens = tokenizer.encode([prompt + "東京", prompt + "river"])
    assert mostly_unknown(tokens, tokenizer.unknown, len(prompt)).tolist() == [True, False]
    assert mostly_unknown(tokens, tokenizer.unknown).tolist() == [False, False]


def test_a_vocabulary_that_lacks_nothing_knows_every_text(tokenizer: Tokenizer) -> None:
    assert mostly_unknown(tokenizer.encode(["東京", "river"]), None).tolist() == [False, False]
    assert mostly_unknown(tokenizer.encode([]), tokenizer.unknown).tolist() == []
