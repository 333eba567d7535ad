"""The sizes of a pruned network: what a plain config can express, and what is refused."""

import pytest

from tests.transforms.compression.networks import make_network
from transforms.compression.options import Pruning
from transforms.compression.sizes import Sizes, pruned_sizes
from transforms.errors import BadInput

#: 4 layers in 2 groups, 6 heads of a hidden size of 24, 40 inner units.
CONFIG, _ = make_network()


@pytest.mark.parametrize(
    ("pruning", "expected"),
    [
        (Pruning(prune_inner=0.5), Sizes(4, 2, 6, 24)),
        (Pruning(prune_inner=0.4), Sizes(4, 2, 6, 24)),
        (Pruning(prune_inner=0.99), Sizes(4, 2, 6, 8)),
        (Pruning(prune_inner=7), Sizes(4, 2, 6, 33)),
        (Pruning(prune_heads=2), Sizes(4, 2, 4, 40)),
        (Pruning(prune_heads=0.5), Sizes(4, 2, 3, 40)),
        # A third would leave 4.02 heads, a sixth 5, which 24 is no multiple of.
        (Pruning(prune_heads=0.33), Sizes(4, 2, 4, 40)),
        (Pruning(prune_heads=0.17), Sizes(4, 2, 4, 40)),
        (Pruning(prune_heads=0.99), Sizes(4, 2, 1, 40)),
        (Pruning(layers=3), Sizes(3, 2, 6, 40)),
        (Pruning(layers=1, prune_inner=39), Sizes(1, 1, 6, 1)),
    ],
)
def test_sizes_after_a_pruning(pruning: Pruning, expected: Sizes) -> None:
    assert pruned_sizes(CONFIG, pruning) == expected


def test_a_share_is_exact_where_there_are_few_units() -> None:
    config, _ = make_network(intermediate_size=6)
    assert pruned_sizes(config, Pruning(prune_inner=0.5)).inner == 3


@pytest.mark.parametrize(
    ("pruning", "option", "problem", "remedy"),
    [
        (Pruning(prune_heads=6), "prune_heads", "leaves none of the 6 heads", "one of 2, 3, 4, 5"),
        (Pruning(prune_heads=9), "prune_heads", "leaves none of the 6 heads", "one of 2, 3, 4, 5"),
        (Pruning(prune_heads=1), "prune_heads", "leaves 5 heads", "one of 2, 3, 4, 5"),
        (Pruning(prune_inner=40), "prune_inner", "leaves none of the 40", "up to 39"),
        (Pruning(prune_inner=0.01), "prune_inner", "leaves all of the 40", "up to 39"),
        (Pruning(layers=4), "layers", "is not fewer than the 4 layers", "3 or less"),
        (Pruning(layers=9), "layers", "is not fewer than the 4 layers", "3 or less"),
    ],
)
def test_what_leaves_nothing_or_all_is_refused(
    pruning: Pruning, option: str, problem: str, remedy: str
) -> None:
    with pytest.raises(BadInput) as caught:
        pruned_sizes(CONFIG, pruning)
    assert caught.value.option == option
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("sizes", "pruning"),
    [
        ({"num_attention_heads": 1}, Pruning(prune_heads=0.5)),
        ({"intermediate_size": 1}, Pruning(prune_inner=0.5)),
        ({"num_hidden_layers": 1, "num_hidden_groups": 1}, Pruning(layers=1)),
    ],
)
def test_the_last_one_is_not_removed(sizes: dict[str, int], pruning: Pruning) -> None:
    config, _ = make_network(**sizes)
    with pytest.raises(BadInput) as caught:
        pruned_sizes(config, pruning)
    assert caught.value.remedy.startswith("Leave it out")


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"prune_heads": 1.0}, "prune_heads"),
        ({"prune_inner": 0.0}, "prune_inner"),
        ({"prune_inner": -0.5}, "prune_inner"),
        ({"prune_inner": float("nan")}, "prune_inner"),
        ({"prune_heads": 0}, "prune_heads"),
        ({"layers": 0}, "layers"),
        ({}, "prune_inner"),
    ],
)
def test_numbers_out_of_range_and_no_pruning_at_all_are_refused(
    given: dict[str, float], option: str
) -> None:
    with pytest.raises(BadInput) as caught:
        Pruning(**given)  # type: ignore[arg-type]
    assert caught.value.option == option
    assert caught.value.remedy
