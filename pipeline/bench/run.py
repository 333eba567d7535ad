"""``albeam bench``: albeam beside its peers, on the same texts and weights, in turn, in one run.

Every system takes texts and gives vectors, so its own tokenization is in its time. In each round
every system runs once, so that what else the machine does meets them all; medians count. Before the
first round each that does not start anew with each run has run once untimed, on the same texts.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bench import corpora, peers
from pipeline.bench.corpora import CORPORA, REAL, SHAPES, framed_ids, make_corpus, neighbours
from pipeline.bench.machine import describe_machine
from pipeline.bench.memory import MemoryOptions, measure_memory
from pipeline.bench.store import StoreOptions, measure_store
from pipeline.bench.systems import (
    Albeam,
    AlbeamFloat32,
    Bench,
    EndToEnd,
    LinearPeak,
    MatrixPeak,
    System,
    Vectors,
    measure_tokenizer,
    thread_count,
)
from pipeline.bench.targets import judge, ratio
from transforms.encoder.placement import resolve_placement
from transforms.encoder.reference import reference_vectors
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import Model, find_model
from transforms.models.tokenizer import load_tokenizer

#: Texts whose vectors are compared with the unmodified network's.
_COMPARED = 6
#: How much slower than albeam in float32 the slowest system is taken to be.
_SLOWEST = 2.5
#: How many times its start-up an end-to-end run must last beyond it for a share to be told.
_OUTWEIGHED = 5


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: of which the median counts.
        seconds: that the slowest system is to take in a round, by a first estimate.
        fewest, most: texts, whatever the estimate says.
        limit: seconds of all preparations and rounds: of a corpus' rounds none is begun that would
            end after its share of them, but for the first, which is never left out.
        embedded: seconds that the encoder is to work in an end-to-end run.
        batch_sizes: of which a peer takes the quickest on a CPU; on CUDA 16 times as many.
        tried: texts, 16 times as many on CUDA, on which it finds that out.
    """

    rounds: int = 5
    seconds: float = 30.0
    fewest: int = 128
    most: int = 4096
    limit: float = 3600.0
    embedded: float = 40.0
    batch_sizes: tuple[int, ...] = (4, 8, 16, 32)
    tried: int = 64


QUICK = Effort(
    rounds=3,
    seconds=6.0,
    fewest=32,
    most=512,
    limit=420.0,
    embedded=5.0,
    batch_sizes=(4, 16),
    tried=16,
)


@dataclass(frozen=True)
class BenchOptions:
    """``albeam bench``.

    Attributes:
        effort: how long to measure.
        pairs: shape and corpus of each comparison, in order.
        systems: names of the systems to run; empty for all.
        device: ``auto``, ``cpu`` or ``cuda``.
        data: a folder with ``squad_dev/passages.parquet``; None for made-up texts.
        memory: rows of the memory test; None to leave it out.
        store: what a store is kept up to date with; None to leave it out.
        folders: model folders by shape, instead of those of `model_folder`.
    """

    effort: Effort = Effort()
    pairs: tuple[tuple[str, str], ...] = tuple((s, c) for s in SHAPES for c in CORPORA)
    systems: tuple[str, ...] = ()
    device: str = "auto"
    data: Path | None = None
    memory: MemoryOptions | None = MemoryOptions()
    store: StoreOptions | None = StoreOptions()
    folders: dict[str, str] = field(default_factory=dict)


@dataclass
class _Case:
    """One model and corpus, and what is expected of every system."""

    shape: str
    corpus: str
    texts: list[str]
    tokens: int
    compared: list[int]
    expected: Vectors | None


@dataclass(frozen=True)
class _Run:
    """Tokens and seconds of one run, and the seconds of a run that did nothing but start up."""

    tokens: int
    seconds: float
    start_up: float

    @property
    def rate(self) -> float | None:
        """Tokens a second, start-up apart; None where that was all."""
        seconds = self.seconds - self.start_up
        return self.tokens / seconds if seconds > 0 else None


def run(options: BenchOptions, tell: Callable[[str], object] = lambda _: None) -> dict[str, Any]:
    """Measure; ``tell`` hears what is being done.

    Returns:
        ``machine``, ``rows``, ``targets`` and, where measured, ``tokenizer``, ``memory`` and
        ``store``.

    Raises:
        BadInput: nothing would be measured, or an option is none of those that there are.
    """
    _check(options)
    peers.quiet()
    real = options.data is not None and (options.data / REAL).is_file()
    report: dict[str, Any] = {
        "machine": describe_machine(options.device),
        "rows": [],
        "corpora": {"squad": "SQuAD" if real else "made up", "skewed": "made up"},
    }
    began, left = time.monotonic(), len(options.pairs)
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        for shape in dict.fromkeys(shape for shape, _ in options.pairs):
            tell(f"{shape}: loading")
            folder = options.folders.get(shape) or corpora.model_folder(shape, Path(work))
            model = find_model(ModelOptions(folder))
            placement = resolve_placement(Placement(options.device), model)
            report["machine"]["device"] = placement.device
            times = 16 if placement.device == "cuda" else 1
            sizes = tuple(times * size for size in options.effort.batch_sizes)
            tried = max(times * options.effort.tried, thread_count() * min(sizes))
            bench = Bench(model, placement, Path(work) / f"{shape}.work", sizes, tried)
            bench.work.mkdir()
            systems = _systems(bench, options.systems)
            for corpus in [corpus for one, corpus in options.pairs if one == shape]:
                now = time.monotonic()
                ends = now + (began + options.effort.limit - now) / left
                left -= 1
                case = _case(shape, corpus, model, systems[0], options)
                report["rows"] += _compare(case, systems, options.effort, ends, tell)
        if options.pairs and not options.systems:
            tell("tokenizer")
            texts = make_corpus("squad", max(16 * options.effort.fewest, 2048), options.data)
            report["tokenizer"] = measure_tokenizer(model, texts, options.effort.rounds)
    if options.memory is not None:
        tell("memory")
        report["memory"] = measure_memory(options.memory)
    if options.store is not None:
        tell("store")
        report["store"] = measure_store(options.store)
    report["targets"] = judge(report)
    return report


def _check(options: BenchOptions) -> None:
    effort = options.effort
    if effort.fewest < 1 or effort.most < 1 or effort.rounds < 1:
        raise BadInput(
            f"{effort.fewest} texts in {effort.rounds} rounds measure nothing; "
            "give 1 or more of both"
        )
    if not options.pairs and options.memory is None and options.store is None:
        raise BadInput("no shape and corpus to measure on; give some, or --memory or --store")
    for shape, corpus in options.pairs:
        if corpus not in CORPORA or shape not in (*SHAPES, *options.folders):
            raise BadInput(
                f"{shape!r} on {corpus!r}: shapes are {', '.join(SHAPES)}, "
                f"corpora {', '.join(CORPORA)}"
            )


def _systems(bench: Bench, wanted: Sequence[str]) -> list[System]:
    """The systems in the order of a round; the encoder is always the first."""
    albeam = Albeam(bench)
    best = peers.SentenceTransformersBest(bench)
    systems: list[System] = [
        albeam,
        AlbeamFloat32(bench),
        LinearPeak(albeam),
        EndToEnd(albeam),
        peers.SentenceTransformers(bench),
        best,
        peers.BeamEmbeddings(best),
        peers.OpenVino(bench),
        peers.OnnxRuntime(bench),
        MatrixPeak(albeam),
    ]
    names = [system.name for system in systems]
    for name in wanted:
        if name not in names:
            raise BadInput(f"system {name!r} is not one of {', '.join(names)}")
    # beam takes over what was found to be best for sentence-transformers.
    needed = {"albeam", *wanted, *(["sentence-transformers-best"] if "beam" in wanted else [])}
    cuda = bench.placement.device == "cuda"
    return [
        system
        for system in systems
        if (not wanted or system.name in needed)
        and (cuda or system.name != "matrix-peak")
        and not (cuda and system.name in ("openvino-bf16", "onnxruntime"))
    ]


def _case(shape: str, corpus: str, model: Model, albeam: System, options: BenchOptions) -> _Case:
    effort = options.effort
    tokenizer = load_tokenizer(model)
    sample = make_corpus(corpus, min(16, effort.most), options.data)
    albeam.prepare(sample)
    albeam.run(sample)
    started = time.perf_counter()
    albeam.run(sample)
    seconds = (time.perf_counter() - started) / len(sample)
    if albeam.dtype != "float32":
        seconds *= 2
    count = int(effort.seconds / (seconds * _SLOWEST))
    count = max(min(count // 32 * 32, effort.most), effort.fewest)
    if corpus == "skewed":
        texts = make_corpus(corpus, count, options.data)
    else:
        every = make_corpus(corpus, max(16 * count, 2048), options.data)
        # A corpus that starts again would have runs of one and the same text.
        every = list(dict.fromkeys(every)) if len(set(every)) >= count else every
        lengths = [len(one) for one in framed_ids(tokenizer, every, model)]
        texts = neighbours(every, lengths, count)
    ids = framed_ids(tokenizer, texts, model)
    # A text that is cut is not the same text in every system.
    whole = [row for row, one in enumerate(ids) if len(one) < model.identity.max_tokens]
    compared = whole[:: max(len(whole) // _COMPARED, 1)][:_COMPARED]
    expected = reference_vectors(model, [ids[row] for row in compared]) if compared else None
    return _Case(shape, corpus, texts, sum(map(len, ids)), compared, expected)


def _compare(
    case: _Case,
    systems: Sequence[System],
    effort: Effort,
    ends: float,
    tell: Callable[[str], object],
) -> list[dict[str, Any]]:
    """The rows of one model and corpus; all rounds but the first are to end before ``ends``."""
    where = f"{case.shape} on {len(case.texts)} texts of {case.corpus}"
    failed: dict[str, str] = {}
    for system in systems:
        missing = [name for name in system.packages if find_spec(name) is None]
        if missing:
            failed[system.name] = (
                f"not installed: {', '.join(missing)}; pip install 'albeam[bench]'"
            )
            continue
        tell(f"{where}: preparing {system.name}")
        _attempt(system, failed, partial(system.prepare, case.texts))
        if system.name not in failed and not system.starts:
            _attempt(system, failed, partial(system.run, case.texts))
    runs: dict[str, list[_Run]] = {system.name: [] for system in systems}
    facts: dict[str, dict[str, Any]] = {system.name: {} for system in systems}
    for number in range(effort.rounds):
        started = time.monotonic()
        for system in systems:
            if system.name in failed:
                continue
            tell(f"{where}: round {number + 1} of {effort.rounds}: {system.name}")

            def once(system: System = system) -> None:
                runs[system.name].append(_timed(system, case, effort, facts[system.name]))

            _attempt(system, failed, once)
        if 2 * time.monotonic() - started > ends:
            break
    rows = [_row(case, s, runs[s.name], facts[s.name], failed.get(s.name)) for s in systems]
    floor = next((row for row in rows if row["system"] == "linear-peak"), None)
    for row in rows:
        row["peak_share"] = ratio(row, floor) if floor is not None else None
    return rows


def _attempt(system: System, failed: dict[str, str], step: Callable[[], object]) -> None:
    """Do a step; a peer's failure is noted, albeam's own is raised."""
    if not isinstance(system, peers.PEERS):
        step()
        return
    try:
        step()
    except Exception as error:
        lines = str(error).strip().splitlines()
        failed[system.name] = f"failed: {lines[0] if lines else type(error).__name__}"


def _timed(system: System, case: _Case, effort: Effort, facts: dict[str, Any]) -> _Run:
    """One run; what else it showed goes into ``facts``."""
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
    return _Run(tokens - start_tokens, seconds, start_up)


def _row(
    case: _Case,
    system: System,
    runs: Sequence[_Run],
    facts: dict[str, Any],
    failure: str | None,
) -> dict[str, Any]:
    rate = None
    if runs and failure is None:
        start_up = statistics.median(run.start_up for run in runs)
        seconds = statistics.median(run.seconds for run in runs) - start_up
        if seconds > 0:
            rate = statistics.median(run.tokens for run in runs) / seconds
        else:
            failure = "too short a run beside its start-up; give more --texts"
    row: dict[str, Any] = {
        "system": system.name,
        "shape": case.shape,
        "corpus": case.corpus,
        "tokens_per_second": rate,
        "peak_share": None,
        "padding": facts.get("padding"),
        "dtype": system.dtype,
        "least_cosine": facts.get("least_cosine"),
        "texts": len(case.texts),
        "tokens": case.tokens,
        "rounds": len(runs),
        "rates": [run.rate for run in runs if failure is None],
        "note": failure or system.note,
    }
    if system.starts and runs:
        row["startup_seconds"] = statistics.median(run.start_up for run in runs)
    if isinstance(system, EndToEnd) and rate is not None:
        bare = {"rates": system.bare_rates}
        row |= {"bare_rates": system.bare_rates, "e2e_share": ratio(row, bare)}
        if seconds < _OUTWEIGHED * start_up:
            row["e2e_share"] = None
            row["note"] += f"; no share from {seconds:.0f} s beside it: leave out --quick"
    return row


def quick(options: BenchOptions) -> BenchOptions:
    """A first answer within ten minutes on two cores: less of everything."""
    pairs = tuple(pair for pair in options.pairs if pair != ("albeam-small", "skewed"))
    memory = replace(options.memory, rows=400) if options.memory is not None else None
    return replace(options, effort=QUICK, pairs=pairs, memory=memory, store=None)
