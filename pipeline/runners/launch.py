"""Beam runners: their options, and what their failures mean."""

import argparse
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

from pipeline.runners import dataflow, flink, prism
from transforms import errors
from transforms.errors import AlbeamError, BadInput

#: Runners that albeam knows more of than their names.
_ENGINES: dict[str, Any] = {"dataflow": dataflow, "flink": flink, "prism": prism}
_WORKER_ERROR = re.compile(
    r"transforms\.errors\.(\w+): (.*?)(?: \[while running|\\n|\n|$)", re.DOTALL
)


class _BeamParser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise BadInput(f"Beam can't read its options: {message}")


def pipeline_options(
    runner: str, beam_args: tuple[str, ...], streaming: bool = False
) -> PipelineOptions:
    """Beam's options for a runner; ``streaming`` for a job without end.

    Raises:
        BadInput: an option that Beam does not know, or that is another runner's.
    """
    check_beam_args(beam_args)
    for word in map(_beam_spelling, beam_args):
        owner = word.removeprefix("--").partition("_")[0]
        if owner in _ENGINES and owner != runner:
            option = word.partition("=")[0].replace("_", "-")
            raise BadInput(f"{option} is for --runner {owner}, not {runner}; change one of them")
    named = runner in ("direct", *_ENGINES)
    name = [] if named else [f"--runner={runner}"]
    options = PipelineOptions([*name, *map(_beam_spelling, beam_args)])
    if streaming:
        options.view_as(StandardOptions).streaming = True
    if runner == "flink":
        flink.set_defaults(options)
    if runner == "dataflow":
        dataflow.set_defaults(options)
    return options


def check_runner(runner: str, options: PipelineOptions) -> list[str]:
    """See that a runner's engine is there; gives a line for each thing that was found.

    Raises:
        BadInput: something is missing; it says what to do.
    """
    engine = _ENGINES.get(runner)
    return engine.check(options) if engine is not None else []


def check_reachable(runner: str, *urls: str) -> None:
    """Raise BadInput where a runner's workers can't see a URL."""
    if runner == "dataflow":
        dataflow.check_reachable(urls)


def check_beam_args(beam_args: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    """Raise BadInput where Beam does not know an option; ``others`` may have been meant too."""
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
        hint = f"; did you mean {close[0]}?" if close else "; see albeam embed --help"
        raise BadInput(f"option {given!r} is neither albeam's nor Beam's{hint}")


def _beam_spelling(word: str) -> str:
    """``--flink-master=x`` as Beam spells it: ``--flink_master=x``."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def make_pipeline(runner: str, options: PipelineOptions) -> beam.Pipeline:
    """An empty pipeline; ``direct`` is Beam's in-process FnApiRunner, never another engine.

    Raises:
        BadInput: there is no such runner, or its engine is not there.
    """
    if runner == "direct":
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return beam.Pipeline(runner=FnApiRunner(_environment(options)), options=options)
    if runner in _ENGINES:
        check_runner(runner, options)
        return beam.Pipeline(runner=_ENGINES[runner].Runner(), options=options)
    try:
        return beam.Pipeline(runner=runner, options=options)
    except (ValueError, ImportError) as error:
        known = ["direct", *_ENGINES]
        close = difflib.get_close_matches(runner.lower(), known, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; {', '.join(known)} are usual"
        raise BadInput(f"runner {runner!r}: {str(error).splitlines()[0]}{hint}") from error


def _environment(options: PipelineOptions) -> Any:
    """Worker processes that keep Beam's chatter to themselves; None for Beam's own choice."""
    direct = options.view_as(DirectOptions)
    verbose = logging.getLogger("apache_beam").isEnabledFor(logging.INFO)
    if direct.direct_running_mode != "multi_processing" or verbose:
        return None
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    # Left as it is, the runner would put its own command in place of this one.
    direct.direct_running_mode = "in_memory"
    worker = f"{shlex.quote(sys.executable)} -m apache_beam.runners.worker.sdk_worker_main"
    return SubprocessSDKEnvironment.from_command_string(f"{worker} 2>/dev/null")


def _quiet() -> Any:
    """Beam's worker threads print tracebacks of what is raised here as one error anyway."""
    verbose = logging.getLogger("apache_beam").isEnabledFor(logging.INFO)
    return contextlib.nullcontext() if verbose else contextlib.redirect_stderr(io.StringIO())


def run_pipeline(pipeline: beam.Pipeline) -> Any:
    """Run a pipeline to its end; its result, for metrics.

    Raises:
        AlbeamError: the one that a worker raised, of the same type, or what else failed.
    """
    try:
        with _quiet():
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            # Beam wraps what stopped its worker; it was the user.
            raise KeyboardInterrupt from error
        name = f"transforms.errors.{type(error).__name__}: "
        found = worker_error(f"{name}{error}" if isinstance(error, AlbeamError) else str(error))
        raise (
            found
            or flink.failure(str(error))
            or AlbeamError(f"the job failed: {_last_line(error)}; run again, or with -v")
        ) from error
    return result


@contextlib.contextmanager
def run_in_background(pipeline: beam.Pipeline) -> Iterator[Any]:
    """Run a pipeline that has no end until the block has; gives its result."""
    with _quiet():
        result = pipeline.run()
        try:
            yield result
        finally:
            if not PipelineState.is_terminal(result.state):
                result.cancel()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text.split(" [while running", maxsplit=1)[0]


def worker_error(message: str) -> AlbeamError | None:
    """The error of albeam's own that a runner's message quotes, if any."""
    found = _WORKER_ERROR.findall(message)
    if not found:
        return None
    name, text = found[-1]
    kind: type[AlbeamError] = getattr(errors, name, AlbeamError)
    return kind.from_message(text.strip())


def counters(result: Any) -> dict[str, int]:
    """Beam's committed counters and the count of model loads, by name."""
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
