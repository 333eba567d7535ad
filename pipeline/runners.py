"""Beam runners: their options, and what their failures mean."""

import argparse
import difflib
import re
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from transforms import errors
from transforms.errors import AlbeamError, BadInput

_WORKER_ERROR = re.compile(
    r"transforms\.errors\.(\w+): (.*?)(?: \[while running|\\n|\n|$)", re.DOTALL
)


def pipeline_options(runner: str, beam_args: tuple[str, ...]) -> PipelineOptions:
    """Beam's options for a runner.

    Raises:
        BadInput: an option that Beam does not know.
    """
    check_beam_args(beam_args)
    name = [] if runner == "direct" else [f"--runner={runner}"]
    return PipelineOptions([*name, *beam_args])


def check_beam_args(beam_args: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    """Raise BadInput where Beam does not know an option; ``others`` may have been meant too."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    known = set()
    for options in _all_options(PipelineOptions):
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        options._add_argparse_args(own)
        for action in own._actions:
            new = [flag for flag in action.option_strings if flag not in known]
            if new:
                known.update(new)
                parser._option_string_actions.update(dict.fromkeys(new, action))
    try:
        _, unknown = parser.parse_known_args(list(beam_args))
    except SystemExit as error:
        raise BadInput(f"Beam can't read its options {' '.join(beam_args)!r}") from error
    if unknown:
        given = unknown[0].split("=", maxsplit=1)[0]
        close = difflib.get_close_matches(given, [*known, *others], 1)
        hint = f"; did you mean {close[0]}?" if close else "; see albeam embed --help"
        raise BadInput(f"option {unknown[0]!r} is neither albeam's nor Beam's{hint}")


def make_pipeline(runner: str, options: PipelineOptions) -> beam.Pipeline:
    """An empty pipeline; ``direct`` is Beam's in-process FnApiRunner, never another engine."""
    if runner == "direct":
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return beam.Pipeline(runner=FnApiRunner(), options=options)
    try:
        return beam.Pipeline(runner=runner, options=options)
    except (ValueError, ImportError) as error:
        raise BadInput(f"runner {runner!r}: {str(error).splitlines()[0]}") from error


def run_pipeline(pipeline: beam.Pipeline) -> Any:
    """Run a pipeline to its end; its result, for metrics.

    Raises:
        AlbeamError: the one that a worker raised, of the same type, as one line.
    """
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except AlbeamError:
        raise
    except Exception as error:
        translated = worker_error(str(error))
        if translated is None:
            raise
        raise translated from error
    return result


def worker_error(message: str) -> AlbeamError | None:
    """The error of albeam's own that a runner's message quotes, if any."""
    found = _WORKER_ERROR.findall(message)
    if not found:
        return None
    name, text = found[-1]
    kind = getattr(errors, name, AlbeamError)
    return kind(text.strip())


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
