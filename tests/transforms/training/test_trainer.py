"""Schedule, optimizers and the training loop, on the smallest networks."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AlbertModel

from tests.support.training import kill_at
from transforms.training.adapters import choose_weights
from transforms.training.initialization import albert_config
from transforms.training.optimizers import Optimizers, Schedule, group_parameters
from transforms.training.options import StudentShape
from transforms.training.trainer import Progress, Trainer


def small_model() -> torch.nn.Module:
    torch.manual_seed(5)
    shape = StudentShape(40, layers=4, hidden=16, heads=2, intermediate=24, embedding=8)
    model: torch.nn.Module = AlbertModel(albert_config(shape), add_pooling_layer=False)
    return model


def learn(model: torch.nn.Module, optimizers: Optimizers, steps: int) -> None:
    for step in range(steps):
        ids = torch.arange(12).reshape(2, 6) + step
        states = model(input_ids=ids).last_hidden_state
        (states * torch.arange(states.numel()).sin().reshape(states.shape)).sum().backward()
        optimizers.step(0.5)


def test_schedule_rises_falls_and_ends() -> None:
    schedule = Schedule(steps=100, rate=1.0, warmup=0.1)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.1) == pytest.approx(1)
    assert schedule.factor(1) == pytest.approx(0)
    assert schedule.progress(50, 0) == 0.5
    assert replace(schedule, minutes=1).progress(50, 45) == 0.75


def test_matrices_of_layers_are_a_group_of_their_own() -> None:
    model = small_model()
    names = {id(weight): name for name, weight in model.named_parameters()}
    layers, matrices, rest = ([names[id(w)] for w in group] for group in group_parameters(model))
    assert len(layers) == 2 * 6
    assert all("albert_layer_groups" in name and name.endswith("weight") for name in layers)
    assert matrices == ["encoder.embedding_hidden_mapping_in.weight"]
    assert "embeddings.word_embeddings.weight" in rest
    assert sum(map(len, (layers, matrices, rest))) == len(names)


def test_muon_steps_as_far_in_every_direction() -> None:
    model = small_model()
    layers, _, _ = group_parameters(model)
    before = [weight.detach().clone() for weight in layers]
    for weight in layers:
        weight.grad = torch.randn(weight.shape)
    Optimizers.for_model(model, 0.01, 0.0).step(0.5)
    for old, new in zip(before, layers, strict=True):
        strengths = torch.linalg.svdvals((new.detach() - old).float())
        # AdamW's typical step is 0.2 a weight (Liu et al., 2025), here at half the rate.
        size = 0.2 * 0.5 * 0.01 * max(old.shape) ** 0.5
        assert strengths.max() < 1.5 * size
        assert strengths.median() > 0.5 * size


def test_adamw_can_step_all_weights() -> None:
    model = small_model()
    optimizers = Optimizers.for_model(model, 0.01, 0.1, "adamw")
    [member] = optimizers.members
    assert isinstance(member, torch.optim.AdamW)
    held = [weight for group in member.param_groups for weight in group["params"]]
    assert len(held) == len(list(model.parameters()))


def test_optimizers_resume_from_their_state() -> None:
    model = small_model()
    optimizers = Optimizers.for_model(model, 0.01, 0.1)
    learn(model, optimizers, 3)
    again = small_model()
    again.load_state_dict(model.state_dict())
    resumed = Optimizers.for_model(again, 0.01, 0.1)
    resumed.load(copy.deepcopy(optimizers.state()))
    learn(model, optimizers, 2)
    learn(again, resumed, 2)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_model_without_layers_learns_too() -> None:
    model = torch.nn.Linear(3, 2)
    before = model.weight.detach().clone()
    optimizers = Optimizers.for_model(model, 0.1, 0.0)
    model(torch.ones(1, 3)).sum().backward()
    optimizers.step(1.0)
    assert (model.weight < before).all()
    assert model.weight.grad is None


def test_the_time_left_follows_the_pace_since_the_last_report() -> None:
    lines: list[Progress] = []
    trainer = Trainer(
        torch.nn.Linear(2, 2),
        Schedule(steps=100, rate=1e-3),
        Path("unused"),
        {},
        batches=lambda _: iter(()),
        loss=lambda _: (torch.zeros(()), {}),
        evaluate=lambda: {"score": 0.0},
        report=lines.append,
    )
    for step, seconds in ((10, 1000.0), (20, 1010.0), (40, 1050.0)):
        trainer.state.step, trainer.state.seconds = step, seconds
        trainer.validate(None, {})
    assert [line.seconds_left for line in lines] == pytest.approx([9000, 80, 120])


def test_training_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.5])
    at: dict[float, float] = {}

    def evaluate() -> dict[str, float]:
        score = next(scores)
        at[score] = model.weight.item()
        return {"score": score}

    trainer = Trainer(
        model,
        Schedule(steps=1000, rate=0.1, evaluate_every=1, patience=2),
        tmp_path,
        {},
        batches=lambda start: iter(range(start, 1000)),
        loss=lambda _: (model.weight.sum(), {}),
        evaluate=evaluate,
        report=lambda _: None,
    )
    state = trainer.run()
    # The best score is that of step 2, and two evaluations after it are no better.
    assert (state.step, state.best_step) == (4, 2)
    assert model.weight.item() == pytest.approx(at[0.9])


def dropout_trainer(folder: Path, steps: int, train: str = "all") -> Trainer:
    """Return a training with dropout, whose checkpoint may be resumed for more steps."""
    torch.manual_seed(3)
    shape = StudentShape(40, layers=4, hidden=16, heads=2, intermediate=24, embedding=8)
    config = albert_config(shape)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.3
    model = AlbertModel(config, add_pooling_layer=False).train()
    choose_weights(model, train, 2, 0)

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        states = model(input_ids=torch.arange(12).reshape(2, 6) + step).last_hidden_state
        return (states * torch.arange(states.numel()).sin().reshape(states.shape)).sum(), {}

    return Trainer(
        model,
        Schedule(steps=steps, rate=0.01, warmup=0.5, evaluate_every=2),
        folder,
        {},
        batches=lambda start: iter(range(start, 20)),
        loss=loss,
        evaluate=lambda: {"score": float(torch.rand(()))},
        report=lambda _: None,
        seed=7,
    )


@pytest.mark.parametrize("train", ["all", "lora"])
def test_a_training_with_dropout_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: str
) -> None:
    torch.manual_seed(1)
    whole = dropout_trainer(tmp_path / "whole", 6, train)
    whole.run()
    revive = kill_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        dropout_trainer(tmp_path / "broken", 6, train).run()
    revive()
    torch.manual_seed(2)
    again = dropout_trainer(tmp_path / "broken", 6, train)
    assert again.resume()
    before = torch.get_rng_state()
    again.run()
    assert torch.equal(torch.get_rng_state(), before)
    assert [each["score"] for each in whole.state.history] == [
        each["score"] for each in again.state.history
    ]
    states = (whole.model.state_dict(), again.model.state_dict())
    assert states[0].keys() == small_model().state_dict().keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
