"""Which weights a training changes, and products of low rank."""

from __future__ import annotations

import pytest
import torch

from tests.support.raising import raises
from tests.transforms.training.test_trainer import learn, small_model
from transforms.errors import BadInput
from transforms.training.adapters import choose_weights, merge_adapters
from transforms.training.optimizers import Optimizers, group_parameters


def changed(train: str) -> set[str]:
    """Return the names of the weights that a short training changes, adapters merged."""
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    choose_weights(model, train, 2, 0)
    learn(model, Optimizers.for_model(model, 0.01, 0.0), 3)
    merge_adapters(model)
    after = model.state_dict()
    assert after.keys() == before.keys()
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_each_choice_changes_its_weights_alone() -> None:
    assert len(changed("all")) == len(list(small_model().parameters()))
    assert all(name.startswith("embeddings.") for name in changed("embeddings"))
    adapted = changed("lora")
    # Four layers share the weights of two groups, with six matrices each.
    assert len(adapted) == 2 * 6
    assert all("layer_groups" in name and name.endswith(".weight") for name in adapted)


def test_adapters_start_at_zero_and_merge_without_a_difference() -> None:
    model = small_model().eval()
    ids = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        before = model(input_ids=ids).last_hidden_state
    choose_weights(model, "lora", 4, 0)
    layers, matrices, _ = group_parameters(model)
    assert (len(layers), len(matrices)) == (0, 2 * 6 * 2)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).last_hidden_state, before)
    learn(model, Optimizers.for_model(model, 0.01, 0.0), 3)
    with torch.no_grad():
        trained = model(input_ids=ids).last_hidden_state
        merge_adapters(model)
        merged = model(input_ids=ids).last_hidden_state
    assert not torch.allclose(trained, before)
    assert torch.equal(trained, merged)


def test_a_change_of_some_weights_is_of_low_rank() -> None:
    model = small_model()
    name = "encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"
    before = model.state_dict()[name].clone()
    choose_weights(model, "lora", 1, 0)
    learn(model, Optimizers.for_model(model, 0.01, 0.0), 3)
    merge_adapters(model)
    strengths = torch.linalg.svdvals(model.state_dict()[name] - before)
    assert strengths[1] < 1e-4 * strengths[0]


def test_the_head_can_be_trained_alone() -> None:
    model = torch.nn.ModuleDict({"encoder": small_model(), "classifier": torch.nn.Linear(4, 2)})
    choose_weights(model, "head", 1, 0, head=("classifier.",))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained == ["classifier.weight", "classifier.bias"]
    with raises(BadInput, "train", "head"):
        choose_weights(small_model(), "head", 1, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_adapters_depend_on_the_seed_alone(seed: int) -> None:
    downs = []
    for _ in range(2):
        model = small_model()
        choose_weights(model, "lora", 2, seed)
        downs.append(next(w for n, w in model.named_parameters() if n.endswith("down")))
    assert torch.equal(*downs)
