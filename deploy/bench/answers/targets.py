"""The targets of the benchmark of answers: which are met, missed, or not measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.bench.answers.reading import ALWAYS_NONE
from deploy.bench.answers.retrieval import RERANKED, Measured

#: The systems by their names in the tables.
SMALL, MINILM, E5 = "albeam-small", "MiniLM", "e5-small"
#: Corpora on which `albeam-small` shall be above MiniLM.
UNSEEN = ("fairytale_qa", "selqa", "scitldr", "fool_me_twice", "medquad")
METRIC = "mrr@10"
#: The names of the parts that a reader is measured on.
RIGHT, UNANSWERABLE, OPEN, OPEN_RERANKED = (
    "SQuAD 1.1 dev, right paragraph",
    "SQuAD 2.0 dev, with no answer",
    "squad_dev's store",
    "squad_dev's store, reranked",
)
_DENSE, _HYBRID, _RERANK = 0.78, 0.885, 0.91
_MOST_MILLISECONDS = 120.0
_MEAN_GAIN, _LEAST_GAIN = 0.005, -0.005
_SPEARMAN = 0.83
_F1, _EM, _F1_2, _OVER_NONE, _OPEN_EM = 0.70, 0.60, 0.60, 0.08, 0.48

#: Results by corpus and system.
Results = Mapping[str, Mapping[str, Measured]]


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        name: what is measured.
        least: the least value, or the most if ``below``.
        reached: the value; None if it was not measured.
        below: whether the value must not be above.
    """

    name: str
    least: float
    reached: float | None
    below: bool = False

    @property
    def missed(self) -> bool:
        """Whether it was measured, and missed."""
        if self.reached is None:
            return False
        return self.reached > self.least if self.below else self.reached < self.least

    def __str__(self) -> str:
        bound = f"{'at most' if self.below else 'at least'} {self.least:g}"
        if self.reached is None:
            return f"{self.name}: not measured ({bound})"
        return f"{self.name}: {self.reached:.4f} ({bound}){', missed' if self.missed else ''}"


def targets(
    found: Results, similarity: Mapping[str, float], read: Mapping[str, dict[str, Any]]
) -> list[Target]:
    """Return all targets with what was reached."""
    return [*_retrieval(found, similarity), *_reading(read)]


def gains(found: Results) -> dict[str, float]:
    """Return by how much `albeam-small`'s hybrid is above its better half, by corpus."""
    kept = {}
    for corpus in found:
        dense, lexical, hybrid = (
            value(found, corpus, SMALL, mode) for mode in ("dense", "lexical", "hybrid")
        )
        if dense is not None and lexical is not None and hybrid is not None:
            kept[corpus] = hybrid - max(dense, lexical)
    return kept


def value(found: Results, corpus: str, system: str, mode: str) -> float | None:
    """Return the mean of `METRIC` of a system in a mode; None if it was not measured."""
    measured = found.get(corpus, {}).get(system)
    if measured is None or mode not in measured.modes:
        return None
    return float(measured.modes[mode][METRIC].mean())


def _retrieval(found: Results, similarity: Mapping[str, float]) -> Iterator[Target]:
    for mode, least in (("dense", _DENSE), ("hybrid", _HYBRID), (RERANKED, _RERANK)):
        reached = value(found, "squad_dev", SMALL, mode)
        yield Target(f"{SMALL}, squad_dev, {mode}, MRR@10", least, reached)
    measured = found.get("squad_dev", {}).get(SMALL)
    taken = None if measured is None else measured.numbers.get("rerank_ms")
    yield Target("reranking, milliseconds a question", _MOST_MILLISECONDS, taken, below=True)
    for corpus in UNSEEN:
        ours, theirs = (value(found, corpus, each, "dense") for each in (SMALL, MINILM))
        gain = None if ours is None or theirs is None else ours - theirs
        yield Target(f"{SMALL} less {MINILM}, {corpus}, dense, MRR@10", 0.0, gain)
    every = gains(found)
    mean = float(np.mean(list(every.values()))) if every else None
    yield Target("hybrid less its better half, mean of the corpora", _MEAN_GAIN, mean)
    for corpus, gain in every.items():
        yield Target(f"hybrid less its better half, {corpus}", _LEAST_GAIN, gain)
    yield Target(f"{SMALL}, STS-B dev, Spearman", _SPEARMAN, similarity.get(SMALL))


def _reading(read: Mapping[str, dict[str, Any]]) -> Iterator[Target]:
    def reached(part: str, name: str) -> float | None:
        return read[part]["values"][name] if part in read else None

    yield Target(f"{RIGHT}, F1", _F1, reached(RIGHT, "f1"))
    yield Target(f"{RIGHT}, exact match", _EM, reached(RIGHT, "exact_match"))
    f1, none = reached(UNANSWERABLE, "f1"), reached(UNANSWERABLE, ALWAYS_NONE)
    yield Target(f"{UNANSWERABLE}, F1", _F1_2, f1)
    over = None if f1 is None or none is None else f1 - none
    yield Target(f"{UNANSWERABLE}, F1 above always saying so", _OVER_NONE, over)
    name = "exact_match"
    known = [reached(part, name) for part in (OPEN, OPEN_RERANKED)]
    best = max((each for each in known if each is not None), default=None)
    yield Target("squad_dev's questions answered from its store, exact match", _OPEN_EM, best)
