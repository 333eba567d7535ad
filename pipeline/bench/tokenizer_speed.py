"""The speed of albeam's tokenizer on one core."""

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer, load_tokenizer


def measure_tokenizer(model: Model, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return tokens a second of a new tokenizer, and of its second pass, when it knows the words.

    Args:
        model: the model of the tokenizer.
        texts: the texts of a pass.
        rounds: how often to measure; the medians are returned.
    """
    first, second = [], []
    for _ in range(rounds):
        tokenizer = load_tokenizer(model)
        first.append(_rate(tokenizer, texts))
        second.append(_rate(tokenizer, texts))
    return {
        "tokens_per_second": statistics.median(first),
        "again_tokens_per_second": statistics.median(second),
        "texts": len(texts),
        "rounds": rounds,
    }


def _rate(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Return tokens a second of one thread."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        started = time.perf_counter()
        tokens = tokenizer.encode(list(texts))
        return len(tokens.ids) / (time.perf_counter() - started)
    finally:
        os.environ.pop("TOKENIZERS_PARALLELISM")
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before
