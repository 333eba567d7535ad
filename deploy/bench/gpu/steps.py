"""Training on the device, and the training of an index on FAISS' GPUs."""

import time
from typing import Any

import numpy as np
import torch

from deploy.bench.gpu.speed import wait


def measure_training(device: str, steps: int) -> dict[str, Any]:
    """Train a small ALBERT for a few steps; its loss must fall and its weights stay finite."""
    from transformers import AlbertConfig, AlbertModel

    from transforms.training.optimizers import Optimizers
    from transforms.training.student import Student, resolve_training_placement

    placement = resolve_training_placement(device, "auto")
    config = AlbertConfig(
        vocab_size=1_000,
        embedding_size=64,
        hidden_size=256,
        intermediate_size=512,
        num_attention_heads=8,
        num_hidden_layers=4,
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        start = AlbertModel(config, add_pooling_layer=False).state_dict()
        ids = torch.randint(5, 1_000, (32, 64))
        wanted = torch.nn.functional.normalize(torch.randn(32, 256), dim=1)
    # Padding, as batches of texts have.
    ids[::2, 40:] = -1
    student = Student(config, {name: each.numpy() for name, each in start.items()}, placement)
    optimizers = Optimizers.for_model(student.model, 1e-3, 0.01)
    ids, wanted, losses = ids.to(device), wanted.to(device), []
    started = time.perf_counter()
    for _ in range(steps):
        loss = 1 - (student.embed(ids) * wanted).sum(1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers.step(1.0)
        losses.append(loss.item())
    wait(device)
    return {
        "precision": placement.dtype,
        "first_loss": round(losses[0], 4),
        "last_loss": round(losses[-1], 4),
        "milliseconds_a_step": round((time.perf_counter() - started) / steps * 1e3, 1),
        "passed": bool(np.isfinite(losses).all() and losses[-1] < losses[0]),
    }


def measure_index(rows: int, lists: int, dim: int) -> dict[str, Any]:
    """Train an inverted file on FAISS' GPUs and on the CPU, and compare time and fit.

    Raises:
        ImportError: FAISS is not installed, or its build has no GPU.
    """
    from transforms.index.vector import faiss_search, faiss_training

    if not faiss_search.gpus():
        raise ImportError("faiss-gpu", name="faiss-gpu")
    random = np.random.default_rng(0)
    centres = random.normal(size=(lists, dim))
    sample = centres[random.integers(lists, size=rows)] + random.normal(size=(rows, dim)) / 2
    sample = (sample / np.linalg.norm(sample, axis=1, keepdims=True)).astype(np.float32)
    found: dict[str, Any] = {"rows": rows, "lists": lists}
    for name, gpu in (("gpu", True), ("cpu", False)):
        started = time.perf_counter()
        index = faiss_training.train_index(f"IVF{lists},Flat", dim, sample, gpu)
        found[f"{name}_seconds"] = round(time.perf_counter() - started, 2)
        error = faiss_training.fit_error(index, sample[:10_000])
        found[f"{name}_error"] = None if error is None else round(error, 5)
    found["passed"] = found["gpu_error"] <= 1.05 * found["cpu_error"]
    return found
