"""``albeam doctor``: what is installed, what is missing, and what to do about it."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from pipeline.runners.findings import Finding, attempt
from transforms.errors import AlbeamError
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.runtime.extras import is_installed
from transforms.runtime.processor import cpu_flags
from transforms.runtime.version import installed_version
from transforms.search.question_encoder import full_encoder, load_question_encoder

_FILESYSTEMS = {"s3fs": ("s3://", "s3"), "gcsfs": ("gs://", "gcs")}
#: Libraries that jobs need. Searches and checks of stores do without.
_LIBRARIES = ("apache-beam", "torch", "transformers")


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
    beam = is_installed("apache_beam")
    if beam:
        from pipeline.runners import engine_findings

        engine_findings.check_options(runner, beam_args)
    findings = [
        Finding("Python", platform.python_version()),
        Finding("albeam", installed_version()),
        *(_library(name) for name in _LIBRARIES),
        _faiss(),
        attempt("model", lambda: _model(model), needed=True),
        Finding("CPU", ", ".join(cpu_flags()) or "no known vector extensions"),
        *(_filesystem(name) for name in _FILESYSTEMS),
        _tasks(),
    ]
    if beam:
        findings += engine_findings.find_engines(runner, beam_args, model, not missing(findings))
    return Diagnosis(runner, not missing(findings), tuple(findings))


def check_works(diagnosis: Diagnosis) -> None:
    """Raise AlbeamError if something is missing that the chosen runner needs."""
    if lacking := missing(diagnosis.findings):
        raise AlbeamError(
            "runner",
            diagnosis.runner,
            f"is not ready: {', '.join(lacking)}",
            "Follow the remedies of the report",
        )


def missing(findings: Sequence[Finding]) -> list[str]:
    """Return the names of what is needed and not there."""
    return [finding.name for finding in findings if finding.needed and not finding.found]


def _library(name: str) -> Finding:
    remedy = "pip install 'albeam[cpu]', for all that is no search and no check of a store"
    return _package(name, remedy)


def _package(name: str, remedy: str = "") -> Finding:
    try:
        return Finding(name, version(name), needed=True)
    except PackageNotFoundError:
        return Finding(name, "", remedy, needed=True)


def _faiss() -> Finding:
    packages = (_package(name) for name in ("faiss-cpu", "faiss-gpu"))
    installed = [package for package in packages if package.found]
    if len(installed) == 2:
        remedy = "faiss-cpu and faiss-gpu install the same module: pip uninstall one of them"
        return Finding("FAISS", "", remedy, True)
    if not installed:
        remedy = "pip install 'albeam[search]', 'albeam[cpu]' or 'albeam[gpu]'"
        return Finding("FAISS", "", remedy, True)
    return Finding("FAISS", f"{installed[0].name} {installed[0].found}", needed=True)


def _model(options: ModelOptions) -> str:
    model = find_model(options)
    encoder = full_encoder(load_question_encoder(model, Placement()))
    name, dim = model.identity.name, encoder.identity.dim
    return f"{name}, {dim} dimensions, {encoder.dtype} on {encoder.device}"


def _tasks() -> Finding:
    """Return what fits and measures heads."""
    found = version("scikit-learn") if find_spec("sklearn") else ""
    return Finding("scikit-learn", found, "pip install 'albeam[tasks]', only for albeam classify")


def _filesystem(name: str) -> Finding:
    protocol, extra = _FILESYSTEMS[name]
    found = version(name) if find_spec(name) else ""
    return Finding(f"{protocol} ({name})", found, f"pip install 'albeam[{extra}]'")
