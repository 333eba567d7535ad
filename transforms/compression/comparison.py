"""What a smaller model costs and brings: cosines to the original, ranks of passages, and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.encoder.encoder import Encoder

#: Rounds of the measurement of speed; one more comes first and warms up.
_ROUNDS = 5
#: Made-up texts to measure speed with, where there are no others.
_TEXTS, _TOKENS = 128, 64


@dataclass(frozen=True)
class Speeds:
    """The speeds of two models by turns.

    Attributes:
        original, smaller: tokens per second.
        ratio: the median of the ratios of the rounds.
    """

    original: float
    smaller: float
    ratio: float


def cosines(
    original: npt.NDArray[np.float32], smaller: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return the cosine of each row ``[rows, dim]`` with the same row of the other model."""
    left, right = original.astype(np.float64), smaller.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    found: npt.NDArray[np.float64] = (left * right).sum(1) / lengths
    return found


def best_passages(
    encoder: Encoder, questions: list[str], passages: list[str], depth: int
) -> list[list[tuple[int, float]]]:
    """Return the places and scores of the best passages of each question, best first."""
    identity = encoder.identity
    rows = encoder.encode_texts(passages, identity.passage_prompt)
    scores = encoder.encode_texts(questions, identity.query_prompt) @ rows.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return [
        [(int(place), float(row[place])) for place in places]
        for row, places in zip(scores, order, strict=True)
    ]


def framed(encoder: Encoder, texts: Sequence[str], seed: int) -> pa.ListArray:
    """Return the token ids of texts; without texts, those of some made-up ones."""
    most = encoder.identity.max_tokens
    if texts:
        return pa.array(encoder.tokenizer.encode_framed(list(texts), most), pa.list_(pa.int32()))
    words = np.random.default_rng(seed).integers(97, 123, (_TEXTS, _TOKENS), dtype=np.uint8)
    made_up = [" ".join(row.tobytes().decode()) for row in words]
    return framed(encoder, made_up, seed)


def measure_speeds(original: Encoder, smaller: Encoder, tokens: pa.ListArray) -> Speeds:
    """Measure two models by turns, without tokenization.

    On a CPU a second is one of processor time, so that other programs matter less.
    """
    clock: Callable[[], float] = (
        time.process_time if original.device == "cpu" else time.perf_counter
    )
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS + 1):
        for encoder, seconds in zip((original, smaller), taken, strict=True):
            started = clock()
            encoder.encode(tokens)
            if turn:
                seconds.append(clock() - started)
    count = len(tokens.flatten())
    before, after = np.asarray(taken[0]), np.asarray(taken[1])
    return Speeds(
        count / float(np.median(before)),
        count / float(np.median(after)),
        float(np.median(before / after)),
    )
