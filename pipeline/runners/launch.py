"""Start of Beam jobs: options of the runners, checks, and the meaning of failures."""

import argparse
import builtins
import contextlib
import difflib
import io
import logging
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from pipeline.command_line.runner_names import DIRECT
from pipeline.runners import dataflow, flink, gpus, prism
from transforms import errors
from transforms.errors import AlbeamError, BadInput
from transforms.storage.disk_space import met_full_disk

#: Runners for which albeam has its own defaults and checks.
_ENGINES: dict[str, Any] = {"dataflow": dataflow, "flink": flink, "prism": prism}
_WORKER_ERROR = re.compile(
    r"transforms\.errors\.(\w+): (.*?)(?: \[while running|\\n|\n|$)", re.DOTALL
)


#: Errors of the values that a step is given, which it is given again by the next run.
_PERMANENT = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError)
_KIND = re.compile(r"^(\w+Error)\b", re.MULTILINE)


class _BeamParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise BadInput("Beam options", None, f"can't be read: {message}", "Correct them")


def pipeline_options(
    runner: str, beam_args: tuple[str, ...], streaming: bool = False
) -> PipelineOptions:
    """Return Beam's options for a runner; ``streaming`` is for a job without end.

    Raises:
        BadInput: Beam does not know an option, or it belongs to another runner.
    """
    check_beam_args(beam_args)
    for word in map(_beam_spelling, beam_args):
        owner = word.removeprefix("--").partition("_")[0]
        if owner in _ENGINES and owner != runner:
            option = word.partition("=")[0].replace("_", "-")
            raise BadInput(
                "option",
                option,
                f"is for --runner {owner}, not for {runner}",
                "Change one of the two",
            )
    named = runner in (DIRECT, *_ENGINES)
    name = [] if named else [f"--runner={runner}"]
    options = PipelineOptions([*name, *map(_beam_spelling, beam_args)])
    if streaming:
        options.view_as(StandardOptions).streaming = True
    if runner == "flink":
        flink.set_defaults(options)
    if runner == "dataflow":
        dataflow.set_defaults(options)
    gpus.set_defaults(runner, options)
    return options


def check_runner(runner: str, options: PipelineOptions) -> list[str]:
    """Check that a runner can work, and return a line for each thing that was found.

    Raises:
        BadInput: something is missing.
    """
    engine = _ENGINES.get(runner)
    return engine.check(options) if engine is not None else []


def check_reachable(runner: str, *urls: str) -> None:
    """Raise BadInput if the workers of a runner can't read a URL."""
    if runner == "dataflow":
        dataflow.check_reachable(urls)


def check_beam_args(beam_args: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    """Raise BadInput if Beam does not know an option; ``others`` are further options to suggest."""
    parser = _BeamParser(add_help=False, allow_abbrev=False)
    known = set()
    for options in _all_options(PipelineOptions):
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        options._add_argparse_args(own)
        for action in own._actions:
            new = [flag for flag in action.option_strings if flag not in known]
            if new:
                known.update(new)
                parser._option_string_actions.update(dict.fromkeys(new, action))
    _, unknown = parser.parse_known_args([_beam_spelling(word) for word in beam_args])
    if unknown:
        given = next(word for word in beam_args if _beam_spelling(word) == unknown[0])
        given = given.split("=", maxsplit=1)[0]
        close = difflib.get_close_matches(given, [*known, *others], 1)
        raise BadInput(
            "option",
            given,
            "is unknown to albeam and to Beam",
            f"Perhaps you mean {close[0]}" if close else "See albeam embed --help",
        )


def _beam_spelling(word: str) -> str:
    """Return an option as Beam spells it: ``--flink_master=x`` for ``--flink-master=x``."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def make_pipeline(runner: str, options: PipelineOptions) -> beam.Pipeline:
    """Return an empty pipeline; ``direct`` is always Beam's in-process FnApiRunner.

    Raises:
        BadInput: there is no such runner, or it can't work.
    """
    if runner == DIRECT:
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return beam.Pipeline(runner=FnApiRunner(_environment(options)), options=options)
    if runner in _ENGINES:
        check_runner(runner, options)
        return beam.Pipeline(runner=_ENGINES[runner].Runner(), options=options)
    try:
        return beam.Pipeline(runner=runner, options=options)
    except (ValueError, ImportError) as error:
        known = [DIRECT, *_ENGINES]
        close = difflib.get_close_matches(runner.lower(), known, 1)
        raise BadInput(
            "runner",
            runner,
            f"can't be used: {str(error).splitlines()[0]}",
            f"Perhaps you mean {close[0]}" if close else f"Give one of {', '.join(known)}",
        ) from error


def _environment(options: PipelineOptions) -> Any:
    """Return the environment of workers with GPUs, or that do not print Beam's logs.

    None is Beam's default.
    """
    direct, devices = options.view_as(DirectOptions), options.view_as(gpus.DeviceOptions).devices
    verbose = logging.getLogger("apache_beam").isEnabledFor(logging.INFO)
    if direct.direct_running_mode != "multi_processing" or (verbose and devices is None):
        return None
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    # With the user's mode the runner would replace this command by its own.
    direct.direct_running_mode = "in_memory"
    module = "apache_beam.runners.worker.sdk_worker_main"
    if devices is not None:
        module = f"pipeline.runners.gpu_worker {devices}"
    worker = f"{shlex.quote(sys.executable)} -m {module}"
    return SubprocessSDKEnvironment.from_command_string(
        worker if verbose else f"{worker} 2>/dev/null"
    )


def _without_stderr() -> Any:
    """Discard stderr: Beam's worker threads print tracebacks of what is raised as one error."""
    verbose = logging.getLogger("apache_beam").isEnabledFor(logging.INFO)
    return contextlib.nullcontext() if verbose else contextlib.redirect_stderr(io.StringIO())


def run_pipeline(pipeline: beam.Pipeline) -> Any:
    """Run a pipeline to its end, and return its result with the metrics.

    Raises:
        AlbeamError: the error of a worker with its type, or any other failure.
    """
    try:
        with _without_stderr():
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            # Beam wraps the interrupt of the user that stopped its worker.
            raise KeyboardInterrupt from error
        raise (
            _own_error(error)
            or worker_error(str(error))
            or flink.failure(str(error))
            or _other_error(error)
        ) from error
    return result


@contextlib.contextmanager
def run_in_background(pipeline: beam.Pipeline) -> Iterator[Any]:
    """Run a pipeline without end as long as the block runs; the block gets its result."""
    with _without_stderr():
        result = pipeline.run()
        try:
            yield result
        finally:
            if not PipelineState.is_terminal(result.state):
                result.cancel()


def _other_error(error: Exception) -> AlbeamError:
    """Return the error of a job for one that albeam did not raise."""
    kinds = [getattr(builtins, name, object) for name in _KIND.findall(str(error))]
    permanent = isinstance(error, _PERMANENT) or (kinds and issubclass(kinds[-1], _PERMANENT))
    if met_full_disk(error):
        remedy = "Free some space and run the same command again; what is finished stays"
    elif permanent:
        remedy = "Look into the input, and give -v to see where it failed"
    else:
        remedy = "Run again, or with -v"
    return AlbeamError("Beam job", None, f"failed: {_last_line(error)}", remedy)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text.split(" [while running", maxsplit=1)[0]


def _own_error(error: BaseException) -> AlbeamError | None:
    """Return the error of albeam that a worker in this process raised, with its fields."""
    found: AlbeamError | None = None
    cause: BaseException | None = error
    while cause is not None:
        # Beam raises errors again with their text alone; the original one has the fields.
        if isinstance(cause, AlbeamError):
            if cause.problem:
                return cause
            found = found or cause
        cause = cause.__cause__ or cause.__context__
    if found is None:
        return None
    return type(found).from_message(str(found).split(" [while running", maxsplit=1)[0])


def worker_error(message: str) -> AlbeamError | None:
    """Return the error of albeam that a runner's message quotes, else None."""
    found = _WORKER_ERROR.findall(message)
    if not found:
        return None
    name, text = found[-1]
    kind: type[AlbeamError] = getattr(errors, name, AlbeamError)
    return kind.from_message(text.strip())


def counters(result: Any) -> dict[str, int]:
    """Return Beam's committed counters and the count of model loads, by name."""
    metrics = result.metrics().query()
    values = {c.key.metric.name: int(c.committed or 0) for c in metrics["counters"]}
    for distribution in metrics["distributions"]:
        if distribution.key.metric.name == "load_model_latency_milli_secs":
            loads = int(distribution.committed.count)
            values["model_loads"] = values.get("model_loads", 0) + loads
    return values


def _all_options(cls: Any) -> list[Any]:
    found = []
    for child in cls.__subclasses__():
        found += [child, *_all_options(child)]
    return found
