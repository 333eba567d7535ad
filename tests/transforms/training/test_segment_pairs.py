"""Pairs of segments: where they come from, how long they are, and their labels."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.support.models import make_texts, make_tokenizer
from transforms.training.masking import MaskingRules
from transforms.training.segment_pairs import (
    Documents,
    plan_segments,
    split_sentences,
    tokenize_documents,
)

MAX_TOKENS = 48


@pytest.fixture(scope="module")
def documents() -> Documents:
    dice = random.Random(2)
    texts = [". ".join(make_texts(dice.randint(1, 12), seed, 20)) + "." for seed in range(60)]
    return tokenize(texts)


def tokenize(texts: list[str]) -> Documents:
    tokenizer = make_tokenizer()
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    rules = MaskingRules.of("ngram", pieces, tokenizer.all_special_ids, 4)
    return tokenize_documents(tokenizer, texts, rules.word_starts, (MAX_TOKENS - 3) // 2)


def test_sentences_end_after_their_marks() -> None:
    text = 'It rains. "Does it?" Yes! See 3.5 km。好的。'
    assert split_sentences(text) == ["It rains.", '"Does it?"', "Yes!", "See 3.5 km。", "好的。"]
    assert split_sentences("no mark") == ["no mark"]


def test_documents_hold_all_tokens_of_their_texts() -> None:
    texts = ["river stone. window music!", "winter", "garden market", "doctor " * 40]
    found = tokenize(texts)
    tokenizer = make_tokenizer()
    bounds = found.sentences[found.documents]
    for number, text in enumerate(texts):
        mine = found.tokens[bounds[number] : bounds[number + 1]]
        assert mine.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
    sentences = np.diff(found.documents)
    # One word stays whole, one sentence is cut in its middle, a long one is cut more often.
    assert sentences[:3].tolist() == [2, 1, 2]
    assert sentences[3] > 3
    assert found.counts(len(tokenizer), 4).sum() == len(found.tokens)


@pytest.mark.parametrize("sentence", ["sop", "nsp", "none"])
def test_rows_fit_and_come_from_one_document(documents: Documents, sentence: str) -> None:
    found = plan_segments(documents, range(5, 50), sentence, MAX_TOKENS, (1, 0))
    bounds = documents.sentences[documents.documents]
    first, second = found.spans[:, :2], found.spans[:, 2:]
    homes, others = (
        np.searchsorted(bounds, span[:, 0], side="right") - 1 for span in (first, second)
    )
    assert (found.lengths <= MAX_TOKENS).all()
    assert (first[:, 1] > first[:, 0]).all()
    assert ((homes >= 5) & (homes < 50)).all()
    if sentence == "none":
        assert (second[:, 0] == second[:, 1]).all()
        assert not found.labels.any()
        assert (found.lengths == first[:, 1] - first[:, 0] + 2).all()
        # Each token is in one row.
        assert (first[:, 1] - first[:, 0]).sum() == bounds[50] - bounds[5]
        return
    assert (second[:, 1] > second[:, 0]).all()
    assert ((others >= 5) & (others < 50)).all()
    assert found.labels.mean() == pytest.approx(0.5, abs=0.15)
    follows = first[:, 1] == second[:, 0]
    assert follows[found.labels == 0].all()
    wrong = found.labels == 1
    if sentence == "sop":
        assert (second[:, 1] == first[:, 0])[wrong].all()
        assert (homes == others).all()
    else:
        assert (homes != others)[wrong].all()


def test_the_seed_and_the_pass_decide_the_rows(documents: Documents) -> None:
    def plan(*seed: int) -> list[list[int]]:
        spans: list[list[int]] = plan_segments(
            documents, range(60), "sop", MAX_TOKENS, seed
        ).spans.tolist()
        return spans

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)


def test_most_rows_are_filled() -> None:
    long = tokenize([". ".join(make_texts(200, 1, 6))])
    lengths = plan_segments(long, range(1), "sop", MAX_TOKENS, (0,)).lengths
    assert np.median(lengths) > 0.7 * MAX_TOKENS
    assert lengths.min() < MAX_TOKENS / 2


def test_documents_of_one_word_have_no_pair() -> None:
    words = tokenize(["river", "stone"])
    assert not len(plan_segments(words, range(2), "sop", MAX_TOKENS, (0,)).labels)
    assert len(plan_segments(words, range(2), "none", MAX_TOKENS, (0,)).labels) == 2
