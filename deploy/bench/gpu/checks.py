"""Correctness on the device, against the unmodified network: eager, float32, on the CPU."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from pipeline.bench.corpora import skewed
from transforms.encoder.batching import Budget
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.encoder.out_of_memory import release_memory
from transforms.encoder.probes import MIN_COSINE, smallest_cosine
from transforms.encoder.reference import reference_vectors
from transforms.models.options import Placement
from transforms.models.resolve import Model

DTYPES = ("float32", "bfloat16", "float16")


def check_vectors(model: Model, device: str, texts: int) -> list[dict[str, Any]]:
    """Compare each dtype with the reference, on texts of all lengths in one call.

    A dtype that fell back to another, or to the padded backend, does not pass.
    """
    some = load_encoder(model, Placement(device, "float32"))
    ids = some.tokenizer.encode_framed(skewed(texts), some.identity.max_tokens)
    expected = reference_vectors(model, ids)
    return [_check_dtype(model, device, dtype, ids, expected) for dtype in DTYPES]


def _check_dtype(
    model: Model,
    device: str,
    dtype: str,
    ids: list[list[int]],
    expected: npt.NDArray[np.float32],
) -> dict[str, Any]:
    encoder = load_encoder(model, Placement(device, dtype))
    cosine = smallest_cosine(encoder.encode(_ragged(ids)).vectors, expected)
    bound = MIN_COSINE[dtype]
    wanted = encoder.dtype == dtype and encoder.backend_name != "padded"
    return {
        "check": f"least cosine, {encoder.backend_name} in {encoder.dtype} for {dtype}",
        "model": model.identity.name,
        "found": f"{cosine:.7f}",
        "bound": str(bound),
        "passed": bool(wanted and cosine >= bound),
    }


def check_limits(model: Model, device: str, many: int) -> list[dict[str, Any]]:
    """Check that memory that runs out, and very many short texts, change no vector."""
    encoder = load_encoder(model, Placement(device))
    return [
        {"model": model.identity.name, **row}
        for check in (_check_memory, _check_many, _check_overlap)
        for row in check(encoder, many)
    ]


class _Full:
    """A backend on a device whose memory really runs out above a number of tokens."""

    def __init__(self, encoder: Encoder, most: int) -> None:
        self.network, self._backend = encoder.backend.network, encoder.backend
        self._device, self._most = encoder.device, most

    def __call__(self, batch: Any) -> torch.Tensor:
        if len(batch.ids) > self._most:
            # More than any device has: the allocator raises its own error.
            torch.empty(1 << 46, dtype=torch.uint8, device=self._device)
        return self._backend(batch)


def _check_memory(encoder: Encoder, many: int) -> Iterator[dict[str, Any]]:
    ids = encoder.tokenizer.encode_framed(skewed(min(many, 64), seed=2), 128)
    expected = encoder.encode(_ragged(ids)).vectors
    backend, budget = encoder.backend, encoder._budget
    encoder.backend, encoder._budget = _Full(encoder, 512), Budget(encoder.budget)
    logger = logging.getLogger("transforms")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        found = encoder.encode(_ragged(ids))
        size = encoder.budget
    finally:
        logger.setLevel(level)
        encoder.backend, encoder._budget = backend, budget
        release_memory(encoder.device)
    yield _same("batches are halved without memory", found.vectors, expected, encoder)
    yield {
        "check": "tokens of a batch after memory ran out",
        "found": str(size),
        "bound": "512",
        "passed": not found.failed and size <= 512,
    }


def _check_many(encoder: Encoder, many: int) -> Iterator[dict[str, Any]]:
    """Embed more texts than attention kernels can number in one batch."""
    lone = encoder.tokenizer.encode_framed(["river"], 8)
    expected = np.repeat(encoder.encode(_ragged(lone)).vectors, many, axis=0)
    found = encoder.encode(_ragged(lone * many)).vectors
    yield _same(f"{many} texts of {len(lone[0])} tokens", found, expected, encoder)


def _check_overlap(encoder: Encoder, many: int) -> Iterator[dict[str, Any]]:
    ids = encoder.tokenizer.encode_framed(skewed(min(many, 256), seed=3), 128)
    budget, overlaps = encoder._budget, encoder.overlaps
    vectors = []
    try:
        encoder._budget = Budget(1_024)
        for encoder.overlaps in (True, False):
            vectors.append(encoder.encode(_ragged(ids)).vectors)
    finally:
        encoder._budget, encoder.overlaps = budget, overlaps
    yield _same("batches that overlap, and one at a time", *vectors, encoder)


def _same(
    check: str,
    found: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
    encoder: Encoder,
) -> dict[str, Any]:
    cosine, bound = smallest_cosine(found, expected), MIN_COSINE[encoder.dtype]
    return {
        "check": check,
        "found": f"{cosine:.7f}",
        "bound": str(bound),
        "passed": bool(cosine >= bound),
    }


def _ragged(ids: list[list[int]]) -> pa.ListArray:
    return pa.array(ids, pa.list_(pa.int32()))
