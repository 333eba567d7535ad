"""Tokens a second, share of the device's peak and memory: albeam, transformers and peers."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deploy.bench.gpu.session import Deadline
from pipeline.bench.corpora import make_corpus
from transforms.encoder.batching import batches_by_length
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.encoder.network import load_network, without_logs
from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.runtime.devices import best_dtype

Run = Callable[[], object]
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        texts: the texts of each corpus.
        turns: how often each system runs; the first turn only warms up.
        product: the width of the square product whose rate is taken as the peak.
    """

    texts: int
    turns: int
    product: int


def measure_peak(device: str, effort: Effort) -> dict[str, float]:
    """Return the operations a second of a large square product, by dtype."""
    size, found = effort.product, {}
    for dtype in dict.fromkeys(("float32", best_dtype(device))):
        a, b = (torch.randn(size, size, device=device, dtype=getattr(torch, dtype)) for _ in "ab")
        seconds = []
        for _ in range(effort.turns + 2):
            started = time.perf_counter()
            torch.mm(a, b)
            wait(device)
            seconds.append(time.perf_counter() - started)
        found[dtype] = 2 * size**3 / min(seconds[1:])
    return found


def wait(device: str) -> None:
    """Wait until the device has done everything."""
    if device == "cuda":
        torch.cuda.synchronize()


def operations(model: Model, lengths: Sequence[int]) -> int:
    """Return the multiplications and additions of texts: linear layers and attention."""
    width, inner = model.hidden_size, model.intermediate_size
    linear = 2 * (4 * width * width + 2 * width * inner)
    return model.layers * sum(length * (linear + 4 * length * width) for length in lengths)


def measure_speed(
    model: Model,
    device: str,
    corpus: str,
    peak: dict[str, float],
    effort: Effort,
    deadline: Deadline,
) -> list[dict[str, Any]]:
    """Measure the systems by turns on one corpus, tokenization included.

    Turns end when half of the time that is left is spent.
    """
    texts = make_corpus(corpus, effort.texts)
    encoder = load_encoder(model, Placement(device))
    ids = encoder.tokenizer.encode_framed(texts, encoder.identity.max_tokens)
    lengths = [len(row) for row in ids]
    systems: dict[str, tuple[str, Run]] = {
        "albeam": (encoder.dtype, lambda: encoder.encode_texts(texts)),
        "albeam, tokens given": (encoder.dtype, _given(encoder, texts)),
        "transformers": (best_dtype(device), _transformers(model, device, ids)),
    }
    try:
        peer = _sentence_transformers(model, device, texts)
    except Exception as error:
        # What a peer can't do is no fault of albeam's.
        _LOGGER.warning("sentence-transformers is left out: %s", error)
        peer = None
    if peer is not None:
        systems["sentence-transformers"] = best_dtype(device), peer
    until = deadline.left() / 2
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    memory: dict[str, int | None] = dict.fromkeys(systems)
    for turn in range(effort.turns + 1):
        for name, (_, run) in systems.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            run()
            wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - started)
            if device == "cuda":
                memory[name] = torch.cuda.max_memory_allocated()
        if turn and deadline.left() < until:
            break
    needed = operations(model, lengths)
    return [
        {
            "model": model.identity.name,
            "corpus": corpus,
            "system": name,
            "dtype": dtype,
            "tokens_per_second": sum(lengths) / float(np.median(seconds[name])),
            "share": needed / float(np.median(seconds[name])) / peak[dtype]
            if dtype in peak
            else None,
            "bytes": memory[name],
            "turns": len(seconds[name]),
        }
        for name, (dtype, _) in systems.items()
    ]


def _given(encoder: Encoder, texts: list[str]) -> Run:
    tokens = encoder.tokenizer.frame(encoder.tokenizer.encode(texts), encoder.identity.max_tokens)
    return lambda: encoder.encode(tokens)


def _transformers(model: Model, device: str, ids: list[list[int]]) -> Run:
    """Return plain transformers on padded batches of similar lengths, all in the best dtype."""
    network = load_network(model, device, "float32", "sdpa")
    network = network.to(getattr(torch, best_dtype(device)))
    lengths = np.array([len(row) for row in ids])
    batches = batches_by_length(lengths, 131_072 if device == "cuda" else 4_096)

    def run() -> None:
        for rows in batches:
            longest = int(lengths[rows].max())
            padded = torch.zeros(len(rows), longest, dtype=torch.long)
            mask = torch.zeros_like(padded)
            for place, row in enumerate(rows):
                padded[place, : lengths[row]] = torch.tensor(ids[row])
                mask[place, : lengths[row]] = 1
            with torch.inference_mode():
                given = mask.to(device)
                states = network(input_ids=padded.to(device), attention_mask=given)
                summed = (states.last_hidden_state.float() * given[..., None]).sum(1)
                (summed / given.sum(1, keepdim=True)).cpu()

    return run


def _sentence_transformers(model: Model, device: str, texts: list[str]) -> Run | None:
    """Return sentence-transformers at its fastest batch size; None if it is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return None
    options = {"dtype": getattr(torch, best_dtype(device))}
    with without_logs():
        peer: Any = SentenceTransformer(model.folder, device=device, model_kwargs=options)

    def seconds(size: int) -> float:
        some = texts[: 4 * size]
        started = time.perf_counter()
        peer.encode(some, batch_size=size, show_progress_bar=False)
        return (time.perf_counter() - started) / len(some)

    sizes = (64, 128, 256, 512) if device == "cuda" else (8,)
    seconds(sizes[0])
    best = min(sizes, key=seconds)
    return lambda: peer.encode(texts, batch_size=best, show_progress_bar=False)
