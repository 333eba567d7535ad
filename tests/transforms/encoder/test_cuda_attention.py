"""Attention on CUDA: when flash attention is used, and what it is given."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from tests.support.models import make_model
from transforms.encoder import network
from transforms.encoder.backends import load_backend
from transforms.encoder.batching import Batch
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model

Calls = list[tuple[int, int]]


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Put a slow flash attention, which refuses what CUDA's refuses, in its place on the CPU."""
    calls: Calls = []

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cum_seq_q: torch.Tensor,
        cum_seq_k: torch.Tensor,
        max_q: int,
        max_k: int,
        **named: Any,
    ) -> tuple[torch.Tensor, ...]:
        assert all(each.is_contiguous() and each.ndim == 3 for each in (query, key, value))
        assert cum_seq_q.dtype == cum_seq_k.dtype == torch.int32
        assert (named["dropout_p"], named["is_causal"]) == (0.0, False)
        bounds = cum_seq_q.tolist()
        assert (bounds[0], bounds[-1]) == (0, len(query))
        lengths = np.diff(bounds)
        assert max_q == max_k == lengths.max()
        calls.append((len(query), len(lengths)))
        found = torch.empty_like(query)
        for first, last in pairwise(bounds):
            parts = [each[first:last].transpose(0, 1) for each in (query, key, value)]
            attended = functional.scaled_dot_product_attention(*parts, scale=named["scale"])
            found[first:last] = attended.transpose(0, 1)
        return (found,)

    monkeypatch.setattr(network, "_has_varlen", lambda _: True)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", attend)
    return calls


@pytest.mark.parametrize("family", ["albert", "bert"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_flash_attention_gets_the_layout_of_the_batch(
    tmp_path: Path, family: str, dtype: str, flash: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = find_model(ModelOptions(str(make_model(tmp_path / family, family)), max_tokens=64))
    lengths = [9, 1, 17, 9, 3]
    ids = [np.random.default_rng(n).integers(5, 60, n).tolist() for n in lengths]
    batch = Batch.take(pa.array(ids, pa.list_(pa.int32())), np.argsort(lengths)[::-1].copy())
    backend = load_backend(model, "cpu", dtype, "packed")
    with torch.inference_mode():
        found = backend(batch)
        assert flash == [(sum(lengths), len(lengths))] * model.layers
        monkeypatch.setattr(network, "_has_varlen", lambda _: False)
        expected = backend(batch)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)
    assert len(flash) == model.layers


@dataclass(frozen=True)
class Query:
    """What is asked of a tensor on CUDA."""

    dtype: torch.dtype = torch.bfloat16
    width: int = 64
    is_cuda: bool = True
    device: str = "cuda:0"

    @property
    def shape(self) -> tuple[int, int, int]:
        return 10, 4, self.width


@pytest.mark.parametrize(
    ("query", "capability", "built", "used"),
    [
        (Query(), (8, 0), True, True),
        (Query(torch.float16), (9, 0), True, True),
        (Query(width=256), (12, 0), True, True),
        (Query(torch.float16), (7, 5), True, False),
        (Query(torch.float32), (9, 0), True, False),
        (Query(width=20), (9, 0), True, False),
        (Query(width=264), (9, 0), True, False),
        (Query(is_cuda=False), (9, 0), True, False),
        (Query(), (9, 0), False, False),
    ],
)
def test_flash_attention_is_used_where_it_has_kernels(
    query: Query,
    capability: tuple[int, int],
    built: bool,
    used: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: built)
    assert network._has_varlen(query) == used  # type: ignore[arg-type]
