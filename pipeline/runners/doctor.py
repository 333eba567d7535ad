"""``albeam doctor``: what is installed, what is missing, and what to do."""

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from pipeline.runners import flink, prism
from pipeline.runners.launch import check_runner, make_pipeline, pipeline_options, run_pipeline
from transforms.encoder.encoder import load_encoder
from transforms.encoder.placement import resolve_placement
from transforms.errors import AlbeamError
from transforms.ingest.worker_check import AskWorker
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.runtime.processor import cpu_flags
from transforms.runtime.version import installed_version

#: Runners on which one worker is asked; elsewhere it would be this process, or cost money.
_ASKED = ("flink", "prism")
_FILESYSTEMS = {"s3fs": ("s3://", "s3"), "gcsfs": ("gs://", "gcs")}


@dataclass(frozen=True)
class Finding:
    """One thing that albeam may need.

    Attributes:
        name: what it is.
        found: what there is of it, "" where it is missing.
        remedy: what to do where it is missing or unfit.
        needed: whether the chosen runner can't work without it.
    """

    name: str
    found: str
    remedy: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What `run` found; ``works`` says whether the chosen runner can."""

    runner: str
    works: bool
    findings: tuple[Finding, ...]


def run(runner: str, beam_args: tuple[str, ...], model: ModelOptions) -> Diagnosis:
    """Look at everything that a job needs; on Flink and Prism a worker is asked by a small job.

    Args:
        runner: ``direct`` or the name of another; it decides what is needed.
        beam_args: Beam's own options, such as a cluster's address.
        model: the model that has to load.

    Raises:
        BadInput: an option is unknown.
    """
    options = pipeline_options(runner, beam_args)
    findings = [
        Finding("Python", platform.python_version()),
        Finding("albeam", installed_version()),
        *(_package(name, needed=True) for name in ("apache-beam", "torch", "transformers")),
        _faiss(),
        _asked("model", lambda: _model(model), needed=True),
        Finding("CPU", ", ".join(cpu_flags()) or "no vector extensions known"),
        *(_filesystem(name) for name in _FILESYSTEMS),
        _asked("Java", lambda: str(flink.java_version()), needed=False),
        *([] if runner == "prism" else [_asked("Prism", _prism, needed=False)]),
        Finding("Go", shutil.which("go") or "", "only to build Prism: install Go 1.25 or newer"),
    ]

    def engine() -> str:
        make_pipeline(runner, options)
        return "; ".join(check_runner(runner, options)) or "in this process"

    def worker() -> str:
        job = make_pipeline(runner, options)
        _ = job | "AskWorker" >> AskWorker(model)
        run_pipeline(job)
        return f"albeam {installed_version()}, and loads {model.model}"

    findings.append(_asked(f"runner {runner}", engine, needed=True))
    if runner in _ASKED and all(each.found for each in findings if each.needed):
        findings.append(_asked("worker", worker, needed=True))
    works = all(each.found for each in findings if each.needed)
    return Diagnosis(runner, works, tuple(findings))


def _asked(name: str, ask: Callable[[], str], needed: bool) -> Finding:
    """What ``ask`` says; where it raises, its message is the remedy."""
    try:
        return Finding(name, ask(), needed=needed)
    except (AlbeamError, ImportError, OSError) as error:
        return Finding(name, "", str(error), needed)


def _prism() -> str:
    return prism.check(pipeline_options("prism", ()))[0].removeprefix("Prism: ")


def _package(name: str, needed: bool) -> Finding:
    try:
        return Finding(name, version(name), needed=needed)
    except PackageNotFoundError:
        return Finding(name, "", f"pip install {name}", needed)


def _faiss() -> Finding:
    builds = [each for name in ("faiss-cpu", "faiss-gpu") if (each := _package(name, True)).found]
    if len(builds) == 2:
        remedy = "faiss-cpu and faiss-gpu install the same module: pip uninstall one of them"
        return Finding("FAISS", "", remedy, True)
    if not builds:
        return Finding("FAISS", "", "pip install 'albeam[cpu]', or 'albeam[gpu]'", True)
    return Finding("FAISS", f"{builds[0].name} {builds[0].found}", needed=True)


def _model(options: ModelOptions) -> str:
    model = find_model(options)
    placement = resolve_placement(Placement(), model)
    dim = load_encoder(model, placement).identity.dim
    return f"{model.identity.name}, {dim} dimensions, {placement.dtype} on {placement.device}"


def _filesystem(name: str) -> Finding:
    protocol, extra = _FILESYSTEMS[name]
    found = version(name) if find_spec(name) else ""
    return Finding(f"{protocol} ({name})", found, f"pip install 'albeam[{extra}]'")


def check_works(diagnosis: Diagnosis) -> None:
    """Raise AlbeamError where the chosen runner can't work."""
    missing = [each.name for each in diagnosis.findings if each.needed and not each.found]
    if missing:
        raise AlbeamError(f"the {diagnosis.runner} runner can't work: {', '.join(missing)}")
