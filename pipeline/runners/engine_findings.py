"""What ``albeam doctor`` finds out about Beam's runners and what they need."""

import shutil

from pipeline.runners import flink, flink_checks, prism
from pipeline.runners.findings import Finding, attempt
from pipeline.runners.launch import check_runner, make_pipeline, pipeline_options, run_pipeline
from transforms.ingest.worker_check import CheckWorker
from transforms.models.options import ModelOptions
from transforms.runtime.version import installed_version

#: Runners on which a small job checks a worker. On others it would run in this process, or cost
#: money.
_RUNNERS_TO_TRY = ("flink", "prism")


def check_options(runner: str, beam_args: tuple[str, ...]) -> None:
    """Raise BadInput if an option is unknown."""
    options = pipeline_options(runner, beam_args)
    if runner == "flink":
        flink.fail_at_once(options)


def find_engines(
    runner: str, beam_args: tuple[str, ...], model: ModelOptions, complete: bool
) -> list[Finding]:
    """Check the runner and what others need; on Flink and Prism with a small job as well.

    Args:
        runner: ``direct`` or the name of another runner.
        beam_args: options for Beam.
        model: the model that a worker must load.
        complete: whether all else is there that a job needs; if not, none is run.
    """
    options = pipeline_options(runner, beam_args)
    if runner == "flink":
        flink.fail_at_once(options)

    def engine() -> str:
        make_pipeline(runner, options)
        return "; ".join(check_runner(runner, options)) or "in this process"

    def worker() -> str:
        job = make_pipeline(runner, options)
        _ = job | "CheckWorker" >> CheckWorker(model)
        run_pipeline(job)
        return f"albeam {installed_version()}, loads {model.model}"

    findings = [
        attempt("Java", lambda: str(flink_checks.java_version()), needed=False),
        *([] if runner == "prism" else [attempt("Prism", _prism, needed=False)]),
        Finding("Go", shutil.which("go") or "", "install Go 1.25 or newer, only to build Prism"),
        attempt(f"runner {runner}", engine, needed=True),
    ]
    if runner in _RUNNERS_TO_TRY and complete and findings[-1].found:
        findings.append(attempt("worker", worker, needed=True))
    return findings


def _prism() -> str:
    return prism.check(pipeline_options("prism", ()))[0].removeprefix("Prism: ")
