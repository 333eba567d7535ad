"""Compare int8 with albeam's floats: speed by turns, nDCG@10, and cosines to float32.

`python -m deploy.bench.int8 --data FOLDER --models M…` embeds the passages of ``squad_dev`` and a
sample of its questions in float32, in the dtype that albeam chooses and in int8, and ranks all
passages. Speed is counted in seconds of this process's processor time, of one thread, without
tokenization and with it; turns alternate.
``--shape-only`` skips the quality of a model with random weights. ``--json FILE`` writes the
figures. The exit code is 1 if a target is missed.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.bench.options import SampleOptions
from pipeline.bench.quality import Sample, Vectors, ndcg, take_sample
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import Model, find_model
from transforms.models.tokenizer import load_tokenizer
from transforms.runtime.devices import best_dtype

#: What albeam computes in if nothing is asked for.
CHOSEN = best_dtype("cpu")
DTYPES = tuple(dict.fromkeys(("float32", CHOSEN, "int8")))
#: The most that int8 may lose of nDCG@10, and its least cosine to float32 at the first percentile.
_MOST_LOSS, _LEAST_COSINE = 0.003, 0.99


def quality(encoders: dict[str, Encoder], sample: Sample) -> dict[str, dict[str, float]]:
    """Return nDCG@10 and the first percentile of the cosines to float32, for each dtype."""
    found: dict[str, dict[str, float]] = {}
    exact: Vectors | None = None
    for dtype, encoder in encoders.items():
        vectors: list[Vectors] = []

        def embed(texts: Sequence[str], encoder: Encoder = encoder, kept: Any = vectors) -> Vectors:
            kept.append(encoder.encode_texts(list(texts)))
            return kept[-1]

        value = ndcg(sample, encoder.identity, embed)
        assert value is not None
        passages = vectors[0]
        exact = passages if exact is None else exact
        lengths = np.linalg.norm(passages, axis=1) * np.linalg.norm(exact, axis=1)
        cosines = (passages * exact).sum(1) / lengths
        found[dtype] = {
            "ndcg@10": value,
            "cosine_p1": float(np.percentile(cosines, 1)),
            "least_cosine": float(cosines.min()),
        }
    return found


def speed(
    model: Model, encoders: dict[str, Encoder], texts: list[str], turns: int
) -> dict[str, dict[str, float]]:
    """Return tokens per second of processor time, and its ratio to `CHOSEN`, for each dtype.

    Both are measured of tokens, and of texts: ``with_tokenization``, by a tokenizer that knows no
    word yet.
    """
    some = next(iter(encoders.values()))
    ids = some.tokenizer.encode_framed(texts, some.identity.max_tokens)
    tokens, count = pa.array(ids, pa.list_(pa.int32())), sum(map(len, ids))
    taken: dict[str, dict[str, list[float]]] = {
        kind: {dtype: [] for dtype in encoders} for kind in ("", "_with_tokenization")
    }
    for turn in range(turns + 1):
        for kind, times in taken.items():
            for dtype, encoder in encoders.items():
                tokenizer = load_tokenizer(model) if kind else None
                started = time.process_time()
                if tokenizer is not None:
                    ids = tokenizer.encode_framed(texts, encoder.identity.max_tokens)
                    tokens = pa.array(ids, pa.list_(pa.int32()))
                encoder.encode(tokens)
                # The first turn makes oneDNN generate its code.
                if turn:
                    times[dtype].append(time.process_time() - started)
    return {
        dtype: {
            f"{name}{kind}": value
            for kind, times in taken.items()
            for name, value in (
                ("tokens_per_second", count / float(np.median(times[dtype]))),
                (
                    f"ratio_to_{CHOSEN}",
                    float(np.median(np.divide(times[CHOSEN], times[dtype]))),
                ),
            )
        }
        for dtype in encoders
    }


def misses(found: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Return a line for each target of quality that is missed."""
    lines = []
    for model, dtypes in found.items():
        if "ndcg@10" not in dtypes["int8"]:
            continue
        loss = dtypes["float32"]["ndcg@10"] - dtypes["int8"]["ndcg@10"]
        if loss > _MOST_LOSS:
            lines.append(f"{model}: int8 loses {loss:.4f} of nDCG@10, more than {_MOST_LOSS}")
        if (cosine := dtypes["int8"]["cosine_p1"]) < _LEAST_COSINE:
            lines.append(f"{model}: cosine {cosine:.4f} at the first percentile")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments, measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with squad_dev")
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL])
    parser.add_argument("--shape-only", nargs="*", default=[], metavar="MODEL")
    parser.add_argument("--sample", type=int, default=2_000, help="questions")
    parser.add_argument("--texts", type=int, default=200, help="passages to time")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sample = take_sample(options.data, SampleOptions(options.sample), options.seed)
    texts = random.Random(options.seed).sample(sample.texts, min(options.texts, len(sample.texts)))
    found: dict[str, Any] = {}
    for name in [*options.models, *options.shape_only]:
        model = find_model(ModelOptions(name))
        encoders = {dtype: load_encoder(model, Placement("cpu", dtype)) for dtype in DTYPES}
        rows = speed(model, encoders, texts, options.turns)
        if name not in options.shape_only:
            rates = quality(encoders, sample)
            rows = {dtype: row | rates[dtype] for dtype, row in rows.items()}
        found[name] = rows
        for dtype, row in rows.items():
            cells = ", ".join(f"{key} {value:.4g}" for key, value in row.items())
            print(f"{name} {dtype}: {cells}", flush=True)
    for line in misses(found):
        print(f"missed: {line}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    return int(bool(misses(found)))


if __name__ == "__main__":
    raise SystemExit(main())
