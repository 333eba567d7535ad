"""Pruned networks: what removal changes, and what it does not."""

import numpy as np
import pytest
import torch

from tests.transforms.compression.networks import (
    layers_of,
    make_network,
    states,
    student_of,
    token_ids,
)
from transforms.compression.importance import Importance, by_norms, by_taylor
from transforms.compression.options import Pruning
from transforms.compression.pruning import most_important, parameters, products_per_token, prune
from transforms.compression.refit import inner_moments, refit
from transforms.compression.sizes import pruned_sizes

FAMILIES = ("albert", "bert")
IDS = token_ids()


@pytest.mark.parametrize("family", FAMILIES)
def test_units_without_output_can_go(family: str) -> None:
    config, weights = make_network(family)
    dice = np.random.default_rng(2)
    for names in layers_of(config):
        dead = dice.choice(40, 16, replace=False)
        weights[f"{names.shrink}.weight"][:, dead] = 0
    sizes = pruned_sizes(config, Pruning(prune_inner=16))
    smaller, rest = prune(config, weights, sizes, by_norms(config, weights))
    assert smaller.intermediate_size == 24
    assert rest[f"{layers_of(smaller)[0].expand}.weight"].shape == (24, 24)
    before, after = states(config, weights, IDS), states(smaller, rest, IDS)
    assert np.abs(before - after).max() < 1e-12
    assert np.abs(before).max() > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_without_output_can_go(family: str) -> None:
    config, weights = make_network(family)
    dice = np.random.default_rng(3)
    for names in layers_of(config):
        for head in dice.choice(6, 3, replace=False):
            weights[f"{names.output}.weight"][:, 4 * head : 4 * head + 4] = 0
    sizes = pruned_sizes(config, Pruning(prune_heads=0.5))
    smaller, rest = prune(config, weights, sizes, by_norms(config, weights))
    assert smaller.num_attention_heads == 3
    # Queries are scaled in float32, by the root of 2.
    assert np.abs(states(config, weights, IDS) - states(smaller, rest, IDS)).max() < 1e-5
    assert parameters(rest) == parameters(weights)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_values_of_removed_heads_stay(family: str) -> None:
    """Heads that attend to all tokens alike are interchangeable."""
    config, weights = make_network(family)
    for names in layers_of(config):
        for module in (names.query, names.key):
            weights[f"{module}.weight"][:] = 0
            weights[f"{module}.bias"][:] = 0
    sizes = pruned_sizes(config, Pruning(prune_heads=4))
    smaller, rest = prune(config, weights, sizes, by_norms(config, weights))
    assert np.abs(states(config, weights, IDS) - states(smaller, rest, IDS)).max() < 1e-12


def test_fewer_repeats_of_shared_layers_keep_all_weights() -> None:
    config, weights = make_network("albert", num_hidden_groups=2)
    sizes = pruned_sizes(config, Pruning(layers=3))
    smaller, rest = prune(config, weights, sizes, by_norms(config, weights))
    assert (smaller.num_hidden_layers, smaller.num_hidden_groups) == (3, 2)
    assert rest.keys() == weights.keys()
    assert all(np.array_equal(rest[name], weights[name]) for name in weights)
    assert products_per_token(smaller) == 3 / 4 * products_per_token(config)
    assert states(smaller, rest, IDS).shape == states(config, weights, IDS).shape


@pytest.mark.parametrize("family", FAMILIES)
def test_of_layers_with_weights_of_their_own_the_first_and_the_last_stay(family: str) -> None:
    own = {"num_hidden_groups": 4} if family == "albert" else {}
    config, weights = make_network(family, **own)
    sizes = pruned_sizes(config, Pruning(layers=2))
    smaller, rest = prune(config, weights, sizes, by_norms(config, weights))
    old, new = layers_of(config), layers_of(smaller)
    assert len(new) == 2
    for there, here in ((old[0], new[0]), (old[3], new[1])):
        name = f"{there.expand}.weight"
        assert np.array_equal(rest[f"{here.expand}.weight"], weights[name])
    assert parameters(rest) < parameters(weights)
    # Strict loading finds neither a missing weight nor one too many.
    states(smaller, rest, IDS)


def test_the_most_important_ones_keep_their_order() -> None:
    assert most_important(np.asarray([3.0, 9.0, 1.0, 9.0, 5.0]), 3).tolist() == [1, 3, 4]


@pytest.mark.parametrize("way", ["norms", "taylor"])
@pytest.mark.parametrize("family", FAMILIES)
def test_importance_finds_what_matters(family: str, way: str) -> None:
    config, weights = make_network(family)
    dice = np.random.default_rng(4)
    planted = {}
    for names in layers_of(config):
        units, head = np.sort(dice.choice(40, 5, replace=False)), int(dice.integers(6))
        planted[names.place] = (units, head)
        weak = np.setdiff1d(np.arange(40), units)
        weights[f"{names.shrink}.weight"][:, weak] *= 1e-3
        weights[f"{names.expand}.bias"][units] = 2
        others = np.setdiff1d(np.arange(24), np.arange(4 * head, 4 * head + 4))
        weights[f"{names.output}.weight"][:, others] *= 0.01
    if way == "norms":
        found = by_norms(config, weights)
    else:
        student = student_of(config, weights)
        found = by_taylor(student, [IDS[:10], IDS[10:]], seed=0)
        assert all(one.grad is None for one in student.model.parameters())
    assert found.keys() == planted.keys()
    for place, (units, head) in planted.items():
        assert most_important(found[place].inner, 5).tolist() == units.tolist()
        assert int(np.argmax(found[place].heads)) == head


def test_importance_by_taylor_is_the_change_of_vectors() -> None:
    """Of a small part of a unit's output, the prediction agrees with a difference of vectors."""
    config, weights = make_network(num_hidden_groups=1)
    [names] = layers_of(config)
    texts = token_ids(400, seed=8)
    student = student_of(config, weights)
    found = by_taylor(student, [texts], seed=0)[names.place].inner
    with torch.inference_mode():
        before = student.embed(texts).double()
        step = 1e-2
        for unit in np.argsort(-found)[:3]:
            changed = {name: array.copy() for name, array in weights.items()}
            changed[f"{names.shrink}.weight"][:, unit] *= 1 - step
            after = student_of(config, changed).embed(texts).double()
            exact = float(((after - before) / step).square().sum(1).mean())
            assert found[unit] == pytest.approx(exact, rel=0.3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_refit_brings_the_states_closer(family: str) -> None:
    config, weights = make_network(family, num_hidden_layers=2)
    student, learnt = student_of(config, weights), [token_ids(200, seed=5)]
    importance = by_taylor(student, learnt, seed=0)
    sizes = pruned_sizes(config, Pruning(prune_inner=16))
    fitted = refit(config, weights, sizes, importance, inner_moments(student, learnt))
    before = states(config, weights, IDS)
    distances = [
        np.abs(before - states(*prune(config, each, sizes, importance), IDS)).mean()
        for each in (weights, fitted)
    ]
    assert distances[1] < 0.8 * distances[0]


def test_a_refit_leaves_alone_what_needs_none() -> None:
    config, weights = make_network()
    importance = {}
    for names in layers_of(config):
        weights[f"{names.shrink}.weight"][:, :16] = 0
        importance[names.place] = Importance(np.ones(6), np.arange(40.0))
    moments = inner_moments(student_of(config, weights), [IDS])
    sizes = pruned_sizes(config, Pruning(prune_inner=16))
    fitted = refit(config, weights, sizes, importance, moments)
    assert all(np.array_equal(fitted[name], weights[name]) for name in weights)
    whole = pruned_sizes(config, Pruning(layers=2))
    fitted = refit(config, weights, whole, importance, moments)
    assert all(np.array_equal(fitted[name], weights[name]) for name in weights)


def test_moments_leave_out_padding() -> None:
    config, weights = make_network()
    student = student_of(config, weights)
    padded = torch.cat([IDS, torch.full((len(IDS), 3), -1)], dim=1)
    plain, found = (inner_moments(student, [ids]) for ids in (IDS, padded))
    for place, expected in plain.items():
        # Two repeats of each group, 16 texts of 10 tokens.
        assert expected[-1, -1] == 2 * 160
        assert np.allclose(found[place], expected, rtol=1e-4, atol=1e-2)
