"""Attention by products against the definition in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.encoder import cpu_attention
from transforms.encoder.cpu_attention import (
    LOG2_E,
    attend_by_products,
    is_quicker_by_products,
    workspace_size,
)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """By the definition, from queries that are scaled for powers of two."""
    query, key, value = (states.double() for states in (query, key, value))
    return torch.softmax(query @ key.transpose(2, 3) / LOG2_E, -1) @ value


def states(sequences: int, heads: int, length: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, sequences, heads, length, width, generator=generator).bfloat16()


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 40), st.sampled_from([8, 12, 32]))
@settings(deadline=None, max_examples=40)
def test_it_is_attention_within_each_sequence(
    sequences: int, heads: int, length: int, width: int
) -> None:
    query, key, value = states(sequences, heads, length, width, length)
    query = query / width**0.5
    found = attend_by_products(torch.stack([query, key, value]))
    assert (found.dtype, found.shape) == (torch.bfloat16, query.shape)
    expected = attend(query, key, value)
    torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)


def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = states(5, 3, 10, 8, 1)
    whole = attend_by_products(torch.stack([query, key, value]))
    for at_once in (1, 7_000, 14_000):
        monkeypatch.setattr(cpu_attention, "_AT_ONCE", at_once)
        assert torch.equal(attend_by_products(torch.stack([query, key, value])), whole)


def test_the_result_goes_where_it_belongs_by_way_of_a_given_workspace() -> None:
    query, key, value = states(5, 3, 10, 8, 4)
    parts = torch.stack([query, key, value])
    expected = attend_by_products(parts)
    # Heads lie side by side in each token, as in a layer.
    out = torch.full((5, 10, 3, 8), float("nan")).bfloat16().transpose(1, 2)
    workspace = torch.full((workspace_size(5, 3, 10, 8) + 7,), float("nan")).bfloat16()
    assert attend_by_products(parts, out, workspace) is out
    assert torch.equal(out, expected)
    assert torch.isnan(workspace[-7:]).all()


@pytest.mark.parametrize("offset", [300.0, -300.0, 90.0, -120.0])
def test_scores_beyond_the_range_of_powers_are_none_beyond_attention_s(offset: float) -> None:
    query, key, value = states(3, 2, 12, 8, 2)
    # One number of each query and key makes all scores of the second sequence so much larger.
    query[..., 0], key[..., 0] = 0, 0
    query[1, ..., 0], key[1, ..., 0] = offset, 1
    found = attend_by_products(torch.stack([query, key, value]))
    assert torch.isfinite(found).all()
    # Scores near 300 are two apart in bfloat16.
    torch.testing.assert_close(
        found[[0, 2]].double(), attend(query, key, value)[[0, 2]], atol=0.05, rtol=0.05
    )
    weights = torch.softmax(torch.bmm(query[1], key[1].transpose(1, 2)).double() / LOG2_E, -1)
    torch.testing.assert_close(found[1].double(), weights @ value[1].double(), atol=0.05, rtol=0.05)


def test_what_is_not_finite_stays_so_in_its_sequence_alone() -> None:
    query, key, value = states(3, 2, 12, 8, 3)
    good = attend_by_products(torch.stack([query, key, value]))
    query[1, 0, 0, 0] = float("nan")
    found = attend_by_products(torch.stack([query, key, value]))
    assert torch.isnan(found[1, 0, 0]).all()
    torch.testing.assert_close(found[[0, 2]], good[[0, 2]], atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("amx", "bf16", "quicker"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_it_is_taken_where_bfloat16_has_no_tile_units(
    monkeypatch: pytest.MonkeyPatch, amx: bool, bf16: bool, quicker: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    assert is_quicker_by_products() is quicker
