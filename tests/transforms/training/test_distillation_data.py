"""Tokens with their words, the teacher's word vectors, batches and the losses over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.training import sample_texts
from transforms.encoder.batching import batches_by_length
from transforms.training.distillation_data import tokenize_corpus
from transforms.training.losses import contrastive_loss, sentence_loss, similarity_loss, word_loss
from transforms.training.teacher import tokenize, word_means, word_starts
from transforms.training.vocabulary import albert_tokenizer, train_vocabulary


def test_tokens_name_their_words(tmp_path: Path) -> None:
    tokenizer = albert_tokenizer(train_vocabulary(sample_texts(400), 70), 64)
    texts = ["river stones. dog", "fox"]
    assert word_starts(texts[0]).tolist() == [0, 6, 14]
    ids, word_ids = tokenize(tokenizer, texts, 64)
    assert [int(w[-1]) for w in word_ids] == [4, 2]
    assert word_ids[1].tolist() == [0, 1, 2]
    assert set(word_ids[0].tolist()) == {0, 1, 2, 3, 4}
    kept = tokenize_corpus(tokenizer, texts, 64, tmp_path / "tokens.parquet")
    assert kept.lengths.tolist() == [len(row) for row in ids]
    assert kept.padded(np.array([1]))[0].tolist() == [ids[1].tolist()]
    assert sum(kept.counts(70)) == sum(map(len, ids))


def test_word_means_average_the_pieces() -> None:
    hidden = torch.tensor([[[1.0], [2.0], [4.0], [9.0]]])
    word_ids = torch.tensor([[0, 1, 1, -1]])
    assert word_means(hidden, word_ids, 3).squeeze(-1).tolist() == [[1.0, 3.0, 0.0]]


def test_batches_hold_every_text_once_within_the_budget() -> None:
    lengths = np.array([3, 9, 1, 4, 4, 20])
    batches = batches_by_length(lengths, 12)
    assert sorted(int(i) for b in batches for i in b) == list(range(6))
    assert all(len(b) == 1 or len(b) * lengths[b].max() <= 12 for b in batches)


def test_losses_are_zero_when_perfect_and_known_otherwise() -> None:
    unit = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    assert sentence_loss(unit, unit).item() == pytest.approx(0, abs=1e-6)
    assert similarity_loss(unit, -unit).item() == pytest.approx(0, abs=1e-6)
    assert similarity_loss(unit[:1], unit[:1]).item() == 0
    words = torch.randn(40, 8)
    assert word_loss(words, words).item() == 0
    assert word_loss(words.mean(0).expand(40, 8), words).item() == pytest.approx(1, abs=1e-5)
    relevant = torch.eye(5, dtype=torch.bool)
    sure = contrastive_loss(torch.eye(5), torch.eye(5), relevant, 0.05)
    blind = contrastive_loss(torch.ones(5, 5), torch.ones(5, 5), relevant, 0.05)
    assert sure.item() < 1e-6
    assert blind.item() == pytest.approx(np.log(5), abs=1e-5)
    twice = torch.ones(5, 5, dtype=torch.bool)
    assert contrastive_loss(torch.eye(5), torch.eye(5), twice, 0.05).item() == pytest.approx(0)
