"""Run all systems on one model and corpus, in turn, and make the rows of the report."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipeline.bench.options import Effort
from pipeline.bench.quality import Sample, ndcg
from pipeline.bench.systems.albeam import EndToEnd
from pipeline.bench.systems.system import System, Vectors
from pipeline.bench.targets import ratio

#: An end-to-end run must last this many times its start-up, or its share is not reported.
_LEAST_START_UPS = 5


@dataclass(frozen=True)
class Case:
    """One model and corpus, and the vectors that every system must return.

    Attributes:
        shape: the shape of the model.
        corpus: the name of the corpus.
        texts: what every system embeds.
        tokens: the tokens of the texts.
        compared: numbers of the texts whose vectors are compared.
        expected: the vectors of those texts; None if there are none to compare.
        sample: the questions that each system answers; None for none.
    """

    shape: str
    corpus: str
    texts: list[str]
    tokens: int
    compared: list[int]
    expected: Vectors | None
    sample: Sample | None = None


@dataclass(frozen=True)
class _Timing:
    """Tokens and seconds of one run, and the seconds of a run that only starts up."""

    tokens: int
    seconds: float
    start_up: float

    @property
    def rate(self) -> float | None:
        """Tokens a second without start-up; None if the run was shorter than its start-up."""
        seconds = self.seconds - self.start_up
        return self.tokens / seconds if seconds > 0 else None


def compare(
    case: Case,
    systems: Sequence[System],
    effort: Effort,
    deadline: float,
    notify: Callable[[str], object],
) -> list[dict[str, Any]]:
    """Return one row for each system.

    Args:
        case: the model and the corpus.
        systems: the systems, in the order of a round.
        effort: how long to measure.
        deadline: when the rounds must have ended; the first round ignores it.
        notify: receives the current step.
    """
    where = f"{case.shape} on {len(case.texts)} texts of {case.corpus}"
    failed: dict[str, str] = {}
    for system in systems:
        if (reason := system.lacking()) is not None:
            failed[system.name] = reason
            continue
        notify(f"{where}: preparing {system.name}")
        _attempt(system, failed, partial(system.prepare, case.texts))
        if system.name not in failed and not system.starts:
            _attempt(system, failed, partial(system.run, case.texts))
    timings: dict[str, list[_Timing]] = {system.name: [] for system in systems}
    facts: dict[str, dict[str, Any]] = {system.name: {} for system in systems}
    for number in range(effort.rounds):
        started = time.monotonic()
        for system in systems:
            if system.name in failed:
                continue
            notify(f"{where}: round {number + 1} of {effort.rounds}: {system.name}")

            def once(system: System = system) -> None:
                timings[system.name].append(_time(system, case, effort, facts[system.name]))

            _attempt(system, failed, once)
        if 2 * time.monotonic() - started > deadline:
            break
    if (sample := case.sample) is not None:
        for system in systems:
            if system.name in failed or system.starts:
                continue
            notify(f"{where}: questions: {system.name}")

            def answer(system: System = system, sample: Sample = sample) -> None:
                value = ndcg(sample, system.setup.model.identity, system.run)
                facts[system.name]["ndcg_at_10"] = value

            _attempt(system, failed, answer)
    rows = [_row(case, s, timings[s.name], facts[s.name], failed.get(s.name)) for s in systems]
    peak = next((row for row in rows if row["system"] == "linear-peak"), None)
    for row in rows:
        row["peak_share"] = ratio(row, peak) if peak is not None else None
    return rows


def _attempt(system: System, failed: dict[str, str], step: Callable[[], object]) -> None:
    """Take a step; note the failure of a peer, and raise that of albeam."""
    if not system.is_peer:
        step()
        return
    try:
        step()
    except Exception as error:
        lines = str(error).strip().splitlines()
        failed[system.name] = f"failed: {lines[0] if lines else type(error).__name__}"


def _time(system: System, case: Case, effort: Effort, facts: dict[str, Any]) -> _Timing:
    """Time one run, and record its padding and its accuracy in ``facts``."""
    start_up, start_tokens = 0.0, 0
    if isinstance(system, EndToEnd):
        system.time_bare_encoder(effort.embedded)
    if system.starts:
        started = time.perf_counter()
        system.start()
        start_up = time.perf_counter() - started
        start_tokens = system.tokens() or 0
    started = time.perf_counter()
    vectors = system.run(case.texts)
    seconds = time.perf_counter() - started
    own, positions = system.tokens(), system.positions()
    tokens = case.tokens if own is None else own
    if positions is not None:
        facts["padding"] = 1 - tokens / positions
    if vectors is not None and case.expected is not None:
        norms = np.linalg.norm(vectors, axis=1)[case.compared]
        cosines = (vectors[case.compared] * case.expected).sum(axis=1) / norms
        facts["least_cosine"] = float(cosines.min())
    return _Timing(tokens - start_tokens, seconds, start_up)


def _row(
    case: Case,
    system: System,
    timings: Sequence[_Timing],
    facts: dict[str, Any],
    failure: str | None,
) -> dict[str, Any]:
    rate = None
    if timings and failure is None:
        start_up = statistics.median(timing.start_up for timing in timings)
        seconds = statistics.median(timing.seconds for timing in timings) - start_up
        if seconds > 0:
            rate = statistics.median(timing.tokens for timing in timings) / seconds
        else:
            failure = "the run is too short against its start-up; give more --texts"
    row: dict[str, Any] = {
        "system": system.name,
        "shape": case.shape,
        "corpus": case.corpus,
        "tokens_per_second": rate,
        "peak_share": None,
        "padding": facts.get("padding"),
        "dtype": system.dtype,
        "least_cosine": facts.get("least_cosine"),
        "ndcg_at_10": facts.get("ndcg_at_10"),
        "texts": len(case.texts),
        "tokens": case.tokens,
        "rounds": len(timings),
        "rates": [timing.rate for timing in timings if failure is None],
        "note": failure or system.note,
    }
    if system.starts and timings:
        row["startup_seconds"] = statistics.median(timing.start_up for timing in timings)
    if isinstance(system, EndToEnd) and rate is not None:
        bare = {"rates": system.bare_rates}
        row |= {"bare_rates": system.bare_rates, "e2e_share": ratio(row, bare)}
        if seconds < _LEAST_START_UPS * start_up:
            row["e2e_share"] = None
            row["note"] += (
                f"; no share of the bare encoder, {seconds:.0f} s are too short: leave out --quick"
            )
    return row
