"""``albeam bench``: compare albeam with its peers on the same texts and weights, in one run.

Every system takes texts and returns vectors, so its own tokenization counts. In each round every
system runs once, so that other load on the machine affects all of them; medians are reported.
Before the first round, each system runs once untimed on the same texts, unless each of its runs
starts from nothing.
"""

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.bench.comparison import Case, compare
from pipeline.bench.corpora import REAL, framed_ids, make_corpus, neighbours
from pipeline.bench.machine import describe_machine, thread_count
from pipeline.bench.memory import measure_memory
from pipeline.bench.models import RANDOM, model_folder
from pipeline.bench.options import BenchOptions
from pipeline.bench.quality import take_sample
from pipeline.bench.store import measure_store
from pipeline.bench.systems.albeam import Albeam, AlbeamFloat32, AlbeamInt8, EndToEnd
from pipeline.bench.systems.converted import OnnxRuntime, OpenVino
from pipeline.bench.systems.own_process import FastEmbed, OnnxInt8, OpenVinoInt8
from pipeline.bench.systems.peaks import LinearPeak, MatrixPeak
from pipeline.bench.systems.sentence_transformers import (
    BeamEmbeddings,
    SentenceTransformers,
    SentenceTransformersBest,
)
from pipeline.bench.systems.system import Setup, System
from pipeline.bench.targets import judge
from pipeline.bench.tokenizer_speed import measure_tokenizer
from transforms.encoder.placement import resolve_placement
from transforms.encoder.reference import reference_vectors
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import Model, find_model
from transforms.models.tokenizer import load_tokenizer

#: Texts whose vectors are compared with those of the unmodified network.
_COMPARED = 6
#: The assumed time of the slowest system, as a multiple of albeam's in float32.
_SLOWEST = 2.5
#: Systems that take the settings or the encoder of another one.
_USES = {"beam": "sentence-transformers-best", "albeam-int8-e2e": "albeam-int8"}


def run(options: BenchOptions, notify: Callable[[str], object] = lambda _: None) -> dict[str, Any]:
    """Measure, and return the report.

    Args:
        options: what to measure.
        notify: receives the current step.

    Returns:
        ``machine``, ``rows``, ``targets`` and, where measured, ``sample``, ``tokenizer``,
        ``memory`` and ``store``.
    """
    _silence_libraries()
    real = options.data is not None and (options.data / REAL).is_file()
    report: dict[str, Any] = {
        "machine": describe_machine(options.device),
        "rows": [],
        "corpora": {"squad": "SQuAD" if real else "made up", "skewed": "made up"},
    }
    sample, answered = None, set[str]()
    if options.sample is not None:
        sample = take_sample(options.data or Path(), options.sample)
        report["sample"] = sample.facts()
    started, left = time.monotonic(), len(options.pairs)
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        for shape in dict.fromkeys(shape for shape, _ in options.pairs):
            notify(f"{shape}: loading")
            folder = options.folders.get(shape) or model_folder(shape, Path(work))
            model = find_model(ModelOptions(folder))
            placement = resolve_placement(Placement(options.device), model)
            report["machine"]["device"] = placement.device
            setup = _set_up(model, placement, Path(work) / f"{shape}.work", options)
            systems = _choose_systems(setup, options.systems)
            for corpus in [corpus for one, corpus in options.pairs if one == shape]:
                now = time.monotonic()
                deadline = now + (started + options.effort.limit - now) / left
                left -= 1
                case = _make_case(shape, corpus, model, systems[0], options)
                # Random weights answer no questions. A second corpus would give the same figures.
                if shape not in RANDOM and shape not in answered:
                    case = replace(case, sample=sample)
                    answered.add(shape)
                report["rows"] += compare(case, systems, options.effort, deadline, notify)
            for system in systems:
                system.close()
        if options.pairs and not options.systems:
            notify("tokenizer")
            texts = make_corpus("squad", max(16 * options.effort.fewest, 2048), options.data)
            report["tokenizer"] = measure_tokenizer(model, texts, options.effort.rounds)
    if options.memory is not None:
        notify("memory")
        report["memory"] = measure_memory(options.memory)
    if options.store is not None:
        notify("store")
        report["store"] = measure_store(options.store)
    report["targets"] = judge(report)
    return report


def _set_up(model: Model, placement: Placement, work: Path, options: BenchOptions) -> Setup:
    work.mkdir()
    times = 16 if placement.device == "cuda" else 1
    sizes = tuple(times * size for size in options.effort.batch_sizes)
    tried = max(times * options.effort.tried, thread_count() * min(sizes))
    return Setup(model, placement, work, sizes, tried, options.peers)


def _choose_systems(setup: Setup, wanted: Sequence[str]) -> list[System]:
    """Return the systems in the order of a round; albeam is always the first."""
    albeam = Albeam(setup)
    int8 = AlbeamInt8(setup)
    best = SentenceTransformersBest(setup)
    systems: list[System] = [
        albeam,
        AlbeamFloat32(setup),
        int8,
        LinearPeak(albeam),
        EndToEnd(albeam),
        EndToEnd(int8),
        SentenceTransformers(setup),
        best,
        BeamEmbeddings(best),
        OpenVino(setup),
        OnnxRuntime(setup),
        OpenVinoInt8(setup),
        OnnxInt8(setup),
        FastEmbed(setup),
        MatrixPeak(albeam),
    ]
    needed = {"albeam", *wanted}
    needed |= {_USES[name] for name in wanted if name in _USES}
    cuda = setup.placement.device == "cuda"
    return [
        system
        for system in systems
        if (not wanted or system.name in needed)
        and (cuda or system.name != "matrix-peak")
        and not (cuda and system.name in ("openvino-bf16", "onnxruntime"))
    ]


def _make_case(
    shape: str, corpus: str, model: Model, albeam: System, options: BenchOptions
) -> Case:
    """Choose as many texts as the machine's speed allows, and compute the expected vectors."""
    tokenizer = load_tokenizer(model)
    count = _count_texts(corpus, albeam, options)
    if corpus == "skewed":
        texts = make_corpus(corpus, count, options.data)
    else:
        candidates = make_corpus(corpus, max(16 * count, 2048), options.data)
        # A corpus that starts again would have runs of one and the same text.
        distinct = list(dict.fromkeys(candidates))
        candidates = distinct if len(distinct) >= count else candidates
        lengths = [len(one) for one in framed_ids(tokenizer, candidates, model)]
        texts = neighbours(candidates, lengths, count)
    ids = framed_ids(tokenizer, texts, model)
    # Systems cut a long text in different ways, so only whole texts are compared.
    whole = [row for row, one in enumerate(ids) if len(one) < model.identity.max_tokens]
    compared = whole[:: max(len(whole) // _COMPARED, 1)][:_COMPARED]
    expected = reference_vectors(model, [ids[row] for row in compared]) if compared else None
    return Case(shape, corpus, texts, sum(map(len, ids)), compared, expected)


def _count_texts(corpus: str, albeam: System, options: BenchOptions) -> int:
    """Return the number of texts that the slowest system embeds in the seconds of a round."""
    effort = options.effort
    sample = make_corpus(corpus, min(16, effort.most), options.data)
    albeam.prepare(sample)
    albeam.run(sample)
    started = time.perf_counter()
    albeam.run(sample)
    seconds = (time.perf_counter() - started) / len(sample)
    if albeam.dtype != "float32":
        seconds *= 2
    count = int(effort.seconds / (seconds * _SLOWEST))
    return max(min(count // 32 * 32, effort.most), effort.fewest)


def _silence_libraries() -> None:
    """Turn off the messages of conversions; the vectors of the results are compared anyway."""
    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for name in ("torch.onnx", "onnxscript", "sentence_transformers", "nncf"):
        logging.getLogger(name).setLevel(logging.ERROR)
