"""``albeam doctor``: what is installed, what is missing, and what to do about it."""

import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from pipeline.runners import flink, flink_checks, prism
from pipeline.runners.launch import check_runner, make_pipeline, pipeline_options, run_pipeline
from transforms.encoder.encoder import load_encoder
from transforms.encoder.placement import resolve_placement
from transforms.errors import AlbeamError
from transforms.ingest.worker_check import CheckWorker
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.runtime.processor import cpu_flags
from transforms.runtime.version import installed_version

#: Runners on which a small job checks a worker. On others it would run in this process, or cost
#: money.
_RUNNERS_TO_TRY = ("flink", "prism")
_FILESYSTEMS = {"s3fs": ("s3://", "s3"), "gcsfs": ("gs://", "gcs")}


@dataclass(frozen=True)
class Finding:
    """One thing that albeam may need.

    Attributes:
        name: what it is.
        found: which version of it is there, "" if it is missing.
        remedy: what to do if it is missing or does not fit.
        needed: whether the chosen runner needs it.
    """

    name: str
    found: str
    remedy: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All findings of one check.

    Attributes:
        runner: the chosen runner.
        works: whether everything that it needs is there.
        findings: in the order in which they are printed.
    """

    runner: str
    works: bool
    findings: tuple[Finding, ...]


def run(runner: str, beam_args: tuple[str, ...], model: ModelOptions) -> Diagnosis:
    """Check everything that a job needs; on Flink and Prism with a small job as well.

    Args:
        runner: ``direct`` or the name of another runner; it decides what is needed.
        beam_args: options for Beam, such as the address of a cluster.
        model: the model that must load.

    Raises:
        BadInput: an option is unknown.
    """
    options = pipeline_options(runner, beam_args)
    if runner == "flink":
        flink.fail_at_once(options)
    findings = [
        Finding("Python", platform.python_version()),
        Finding("albeam", installed_version()),
        *(_package(name, needed=True) for name in ("apache-beam", "torch", "transformers")),
        _faiss(),
        _try("model", lambda: _model(model), needed=True),
        Finding("CPU", ", ".join(cpu_flags()) or "no known vector extensions"),
        *(_filesystem(name) for name in _FILESYSTEMS),
        _tasks(),
        _try("Java", lambda: str(flink_checks.java_version()), needed=False),
        *([] if runner == "prism" else [_try("Prism", _prism, needed=False)]),
        Finding("Go", shutil.which("go") or "", "install Go 1.25 or newer, only to build Prism"),
    ]

    def engine() -> str:
        make_pipeline(runner, options)
        return "; ".join(check_runner(runner, options)) or "in this process"

    def worker() -> str:
        job = make_pipeline(runner, options)
        _ = job | "CheckWorker" >> CheckWorker(model)
        run_pipeline(job)
        return f"albeam {installed_version()}, loads {model.model}"

    findings.append(_try(f"runner {runner}", engine, needed=True))
    if runner in _RUNNERS_TO_TRY and not _missing(findings):
        findings.append(_try("worker", worker, needed=True))
    return Diagnosis(runner, not _missing(findings), tuple(findings))


def check_works(diagnosis: Diagnosis) -> None:
    """Raise AlbeamError if something is missing that the chosen runner needs."""
    if missing := _missing(diagnosis.findings):
        raise AlbeamError(
            "runner",
            diagnosis.runner,
            f"is not ready: {', '.join(missing)}",
            "Follow the remedies of the report",
        )


def _missing(findings: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.needed and not finding.found]


def _try(name: str, check: Callable[[], str], needed: bool) -> Finding:
    """Return what a check found; if it raises, the message is the remedy."""
    try:
        return Finding(name, check(), needed=needed)
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
    packages = (_package(name, True) for name in ("faiss-cpu", "faiss-gpu"))
    installed = [package for package in packages if package.found]
    if len(installed) == 2:
        remedy = "faiss-cpu and faiss-gpu install the same module: pip uninstall one of them"
        return Finding("FAISS", "", remedy, True)
    if not installed:
        return Finding("FAISS", "", "pip install 'albeam[cpu]', or 'albeam[gpu]'", True)
    return Finding("FAISS", f"{installed[0].name} {installed[0].found}", needed=True)


def _model(options: ModelOptions) -> str:
    model = find_model(options)
    placement = resolve_placement(Placement(), model)
    dim = load_encoder(model, placement).identity.dim
    return f"{model.identity.name}, {dim} dimensions, {placement.dtype} on {placement.device}"


def _tasks() -> Finding:
    """Return what fits and measures heads."""
    found = version("scikit-learn") if find_spec("sklearn") else ""
    return Finding("scikit-learn", found, "pip install 'albeam[tasks]', only for albeam classify")


def _filesystem(name: str) -> Finding:
    protocol, extra = _FILESYSTEMS[name]
    found = version(name) if find_spec(name) else ""
    return Finding(f"{protocol} ({name})", found, f"pip install 'albeam[{extra}]'")
