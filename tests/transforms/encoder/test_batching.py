"""Batches of texts of similar length."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from transforms.encoder.batching import batches_by_length, cut_batches


def greedy(lengths: npt.NDArray[np.int64], budget: int) -> list[list[int]]:
    """Fill batches of padded texts, longest first, and later texts first among equal ones."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], -row))
    batches: list[list[int]] = []
    for row in order:
        longest = lengths[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * max(1, longest) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


@given(st.lists(st.integers(0, 20), max_size=60), st.integers(1, 80))
def test_padded_batches_are_filled_longest_first(sizes: list[int], budget: int) -> None:
    lengths = np.array(sizes, np.int64)
    found = [batch.tolist() for batch in batches_by_length(lengths, budget)]
    assert found == greedy(lengths, budget)


@given(st.lists(st.integers(1, 20), max_size=60), st.integers(1, 80))
def test_packed_batches_count_no_padding(sizes: list[int], budget: int) -> None:
    lengths = np.array(sizes, np.int64)
    order = np.arange(len(sizes))
    batches = list(cut_batches(order, lengths, lambda: budget, padded=False))
    assert [row for batch in batches for row in batch.tolist()] == order.tolist()
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].sum() <= budget
    for batch, following in pairwise(batches):
        assert lengths[batch].sum() + lengths[following[0]] > budget
