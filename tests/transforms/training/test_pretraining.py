"""The network and the batches of a pretraining, on documents made of numbers."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from transforms.models.options import Placement
from transforms.training.initialization import albert_config
from transforms.training.masking import MaskingRules
from transforms.training.optimizers import Optimizers
from transforms.training.options import StudentShape
from transforms.training.pretraining import PretrainingNetwork, PretrainingObjective
from transforms.training.pretraining_data import PretrainingData, unigram_accuracy
from transforms.training.segment_pairs import Documents

VOCABULARY = 26
CPU = Placement("cpu", "float32")


def make_data(sentence: str = "sop", seed: int = 1) -> PretrainingData:
    """Each document counts from any number below 16 to it again; its halves are two sentences.

    The first half also has the piece 5 at its begin, the second one the piece 6.
    """
    dice = np.random.default_rng(0)
    rows = []
    for _ in range(120):
        counted = 8 + (dice.integers(16) + np.arange(12)) % 16
        rows.append([5, *counted[:6], 6, *counted[6:]])
    tokens = np.asarray(rows, np.int32).ravel()
    special = np.arange(VOCABULARY) < 5
    rules = MaskingRules("token", ~special, special, 4)
    documents = Documents(tokens, np.arange(0, len(tokens) + 1, 7), np.arange(0, 241, 2))
    return PretrainingData(documents, 100, sentence, rules, (2, 3), 20, 170, seed)


def make_network(**others: Any) -> PretrainingNetwork:
    shape = StudentShape(
        VOCABULARY, layers=1, groups=1, hidden=32, heads=4, intermediate=64, embedding=32
    )
    config = albert_config(shape)
    # A wide range: attention would otherwise need many steps to differ from a mean.
    config.initializer_range = 0.2
    return PretrainingNetwork(config, CPU, counts=np.arange(VOCABULARY), **others)


def arrays(data: PretrainingData, start: int, count: int) -> list[list[Any]]:
    found = islice(data.batches(start), count)
    return [[t.tolist() for t in vars(batch).values()] for batch in found]


def test_a_batch_holds_two_segments() -> None:
    [batch] = islice(make_data().batches(0), 1)
    ids = batch.ids.clone()
    ids.ravel()[batch.places] = batch.targets
    assert ids.shape[1] == 17
    assert (ids[:, [0, 8, 16]] == torch.tensor([2, 3, 3])).all()
    assert batch.types[0].tolist() == [0] * 9 + [1] * 8
    # The piece at the begin of a segment says which one it is.
    assert torch.equal(ids[:, 1] == 6, batch.labels == 1)
    assert torch.equal(ids[:, 9] == 5, batch.labels == 1)
    [single] = islice(make_data("none").batches(0), 1)
    assert single.ids.shape[1] == 16
    assert not single.types.any()


def test_the_seed_and_the_step_decide_a_batch() -> None:
    data = make_data()
    steps = data.steps()
    whole = arrays(data, 0, 2 * steps + 2)
    for start in (1, steps - 1, steps, steps + 1):
        assert arrays(data, start, 2) == whole[start : start + 2]
    assert arrays(make_data(seed=2), 0, 1) != whole[:1]
    held = [vars(batch) for batch in data.held_out()]
    again = [vars(batch) for batch in make_data(seed=2).held_out()]
    assert all(
        torch.equal(a[name], b[name]) for a, b in zip(held, again, strict=True) for name in a
    )
    assert sum(len(batch["ids"]) for batch in held) == 20


def test_only_masked_places_are_scored_as_transformers_scores_them() -> None:
    network = make_network()
    [batch] = islice(make_data().batches(0), 1)
    words, order = network.logits(batch)
    network.model.eval()
    labels = torch.full_like(batch.ids, -100)
    labels.ravel()[batch.places] = batch.targets
    with torch.inference_mode():
        whole = network.model(
            input_ids=batch.ids,
            token_type_ids=batch.types,
            labels=labels,
            sentence_order_label=batch.labels,
        )
    expected = whole.prediction_logits.flatten(0, 1)[batch.places]
    assert torch.allclose(words, expected, atol=1e-5)
    assert torch.allclose(order, whole.sop_logits, atol=1e-5)
    loss, parts = PretrainingObjective(network, "sop").loss(batch)
    assert loss.item() == pytest.approx(whole.loss.item(), abs=1e-4)
    assert loss.item() == pytest.approx(parts["masked_loss"] + parts["order_loss"], abs=1e-4)


def test_a_network_learns_words_and_orders() -> None:
    data = make_data()
    network = make_network(seed=3)
    objective = PretrainingObjective(network, "sop")
    held_out = data.held_out()
    with torch.inference_mode():
        before = objective.evaluate(held_out)
    optimizers = Optimizers.for_model(network.model, 0.006, 0.0)
    for batch in islice(data.batches(0), 240):
        objective.loss(batch)[0].backward()  # type: ignore[no-untyped-call]
        optimizers.step(1.0)
    with torch.inference_mode():
        after = objective.evaluate(held_out)
    assert before["order_accuracy"] < 0.8 < after["order_accuracy"]
    assert after["perplexity"] < 0.5 * before["perplexity"]
    assert after["masked_accuracy"] > 2 * unigram_accuracy(held_out, data.counts())
    assert after["score"] > before["score"]


def test_a_new_head_knows_how_frequent_pieces_are() -> None:
    bias = make_network().model.predictions.bias.detach()
    assert torch.allclose(bias.exp(), (torch.arange(26) + 1) / 351, atol=1e-4)
    first, second = (make_network(seed=seed).weights() for seed in (0, 0))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = make_network(seed=1).weights()["sop_classifier.classifier.weight"]
    assert not np.array_equal(first["sop_classifier.classifier.weight"], other)
