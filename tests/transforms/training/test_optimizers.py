"""What each optimizer takes, how Muon steps, and that a checkpoint holds all of it."""

from __future__ import annotations

import copy

import torch
from transformers import AlbertModel

from transforms.training.initialization import Shape
from transforms.training.optimizers import Optimizers, parted


def small_model() -> torch.nn.Module:
    torch.manual_seed(5)
    shape = Shape(40, layers=4, hidden=16, heads=2, intermediate=24, embedding=8, positions=16)
    model: torch.nn.Module = AlbertModel(shape.config(), add_pooling_layer=False)
    return model


def learn(model: torch.nn.Module, optimizers: Optimizers, steps: int) -> None:
    for step in range(steps):
        ids = torch.arange(12).reshape(2, 6) + step
        states = model(input_ids=ids).last_hidden_state
        (states * torch.arange(states.numel()).sin().reshape(states.shape)).sum().backward()
        optimizers.step(0.5)


def test_layers_matrices_are_parted_from_the_rest() -> None:
    model = small_model()
    names = {id(weight): name for name, weight in model.named_parameters()}
    inner, outer, plain = ([names[id(w)] for w in group] for group in parted(model))
    assert len(inner) == 2 * 6
    assert all("albert_layer_groups" in name and name.endswith("weight") for name in inner)
    assert outer == ["encoder.embedding_hidden_mapping_in.weight"]
    assert "embeddings.word_embeddings.weight" in plain
    assert sum(map(len, (inner, outer, plain))) == len(names)


def test_muon_steps_as_far_in_every_direction() -> None:
    model = small_model()
    inner, _, _ = parted(model)
    before = [weight.detach().clone() for weight in inner]
    for weight in inner:
        weight.grad = torch.randn(weight.shape)
    Optimizers.of(model, 0.01, 0.0).step(0.5)
    for old, new in zip(before, inner, strict=True):
        strengths = torch.linalg.svdvals((new.detach() - old).float())
        # AdamW's typical step is 0.2 a weight (Liu et al., 2025), here at half the rate.
        size = 0.2 * 0.5 * 0.01 * max(old.shape) ** 0.5
        assert strengths.max() < 1.5 * size
        assert strengths.median() > 0.5 * size


def test_a_checkpoint_goes_on_as_if_never_stopped() -> None:
    model = small_model()
    optimizers = Optimizers.of(model, 0.01, 0.1)
    learn(model, optimizers, 3)
    again = small_model()
    again.load_state_dict(model.state_dict())
    resumed = Optimizers.of(again, 0.01, 0.1)
    resumed.load(copy.deepcopy(optimizers.state()))
    learn(model, optimizers, 2)
    learn(again, resumed, 2)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_model_without_layers_learns_too() -> None:
    model = torch.nn.Linear(3, 2)
    before = model.weight.detach().clone()
    optimizers = Optimizers.of(model, 0.1, 0.0)
    model(torch.ones(1, 3)).sum().backward()
    optimizers.step(1.0)
    assert (model.weight < before).all()
    assert model.weight.grad is None
