"""The choice of a dtype on this processor, and on a torch that cannot tell what it supports."""

import pytest
import torch

from transforms.runtime.devices import best_dtype, cpu_supports

UNITS = ("amx_tile", "avx512_bf16")


@pytest.mark.parametrize("unit", UNITS)
def test_a_cpu_with_one_of_the_units_computes_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, unit: str
) -> None:
    for each in UNITS:
        monkeypatch.setattr(torch.cpu, f"_is_{each}_supported", lambda each=each: each == unit)
    assert [cpu_supports(each) for each in UNITS] == [each == unit for each in UNITS]
    assert best_dtype("cpu") == "bfloat16"


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in UNITS:
        monkeypatch.delattr(torch.cpu, f"_is_{each}_supported")
    assert not any(map(cpu_supports, UNITS))
    assert best_dtype("cpu") == "float32"


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((6, 1), "float32"),
        ((7, 0), "float16"),
        ((7, 5), "float16"),
        ((8, 0), "bfloat16"),
        ((12, 0), "bfloat16"),
    ],
)
def test_a_gpu_computes_in_the_narrowest_dtype_that_it_has_units_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert best_dtype("cuda") == dtype
