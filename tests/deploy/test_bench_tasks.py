"""The benchmark of heads: which figures miss their targets."""

from deploy.bench.tasks import LEAST, MOST, misses


def test_figures_at_their_targets_miss_nothing() -> None:
    assert misses({**LEAST, **MOST}) == []


def test_a_figure_beyond_its_target_is_named() -> None:
    found = {"accuracy": 0.9, "fit_seconds": 61.0, "macro_f1": 0.1}
    lines = misses(found)
    assert [line.split()[0] for line in lines] == ["accuracy", "fit_seconds"]
