"""``albeam bench``: tokens a second of the encoder beside plain transformers, in one run."""

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.encoder import load_encoder, reference_vectors
from transforms.errors import BadInput
from transforms.model import ModelOptions, Placement, find_model

_WORDS = (
    *("river", "stone", "window", "music", "garden", "winter", "market", "engine", "paper"),
    *("silver", "bridge", "valley", "summer", "cotton", "island", "planet", "history", "station"),
    *("doctor", "forest", "memory", "letter", "kitchen", "ocean", "village", "number", "colour"),
)


def run(model: ModelOptions, placement: Placement, texts: int, rounds: int) -> dict[str, Any]:
    """Time each system in turn, ``rounds`` times; medians, and ratios to plain transformers.

    Raises:
        BadInput: the model can't be used, or there is nothing to time.
    """
    if texts < 1 or rounds < 1:
        raise BadInput(f"{texts} texts in {rounds} rounds measure nothing; give 1 or more of both")
    found = find_model(model)
    chosen = load_encoder(found, placement)
    exact = load_encoder(found, Placement(placement.device, "float32"))
    ids = chosen.tokenizer.encode_framed(make_texts(texts), found.identity.max_tokens)
    tokens = pa.array(ids, pa.list_(pa.int32()))
    systems: dict[str, Callable[[], object]] = {
        "transformers-float32": lambda: reference_vectors(found, ids),
        "albeam-float32": lambda: exact.encode(tokens),
        f"albeam-{chosen.dtype}": lambda: chosen.encode(tokens),
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, system in systems.items():
            started = time.perf_counter()
            system()
            seconds[name].append(time.perf_counter() - started)
    total = sum(len(text) for text in ids)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    plain = medians["transformers-float32"]
    return {
        "machine": {
            "platform": platform.platform(),
            "device": chosen.device,
            "date": time.strftime("%Y-%m-%d"),
        },
        "model": found.identity.name,
        "texts": texts,
        "tokens": total,
        "rows": [
            {
                "system": name,
                "tokens_per_second": total / median,
                "times_plain": plain / median,
            }
            for name, median in medians.items()
        ],
    }


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Seeded texts whose lengths are spread as paragraphs' of an encyclopedia are."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(4.6, 0.45, count), 4, 400).astype(int)
    return [" ".join(random.choice(_WORDS, length)) for length in lengths]
