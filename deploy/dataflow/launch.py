"""The program of the Flex Template: a job of one step, which runs ``albeam embed``.

A Flex Template makes one job graph, but albeam decides what to embed from the result of a first
job. So the job of the template is a driver: its one worker submits the jobs that do the work, and
waits for them. If that worker is replaced, the command starts again and resumes.
`tests/deploy/test_deploy.py` runs this program on the direct runner; it has not run on Dataflow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from transforms.errors import BadInput

#: Parameters that are options of ``albeam embed``; empty ones are left out.
OPTIONS = (
    *("store", "model", "mode", "id_column", "text_column", "metadata_columns", "index"),
    *("recall_target", "accelerator", "accelerator_machine_type"),
)


def command(parameters: argparse.Namespace, options: PipelineOptions) -> list[str]:
    """Return the arguments of ``albeam`` for the parameters of the template."""
    words = ["embed", *parameters.inputs.split()]
    for name in OPTIONS:
        value = getattr(parameters, name)
        if value:
            words += [f"--{name.replace('_', '-')}", value]
    words += ["--runner", parameters.engine]
    if parameters.engine == "dataflow":
        cloud = options.view_as(GoogleCloudOptions)
        image = options.view_as(WorkerOptions).sdk_container_image
        if not image:
            raise BadInput(
                "sdk_container_image",
                None,
                "the parameter is missing, and the workers run this image",
                "Give the image that the template was built with",
            )
        words += [f"--project={cloud.project}", f"--region={cloud.region}"]
        words += [f"--temp-location={cloud.temp_location}", f"--sdk-container-image={image}"]
    return words


def drive(words: list[str]) -> None:
    """Run albeam; raise RuntimeError if it fails."""
    from pipeline.cli import main as albeam

    code = albeam(words)
    if code:
        raise RuntimeError(f"albeam ended with exit code {code}; its message is in the log")


def main(argv: Sequence[str] | None = None) -> None:
    """Build the job, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--engine", default="dataflow")
    for name in OPTIONS:
        parser.add_argument(f"--{name}", default="", required=name == "store")
    parameters, rest = parser.parse_known_args(argv)
    options = PipelineOptions(rest)
    words = command(parameters, options)
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | "Command" >> beam.Create([words]) | "Drive" >> beam.Map(drive)


if __name__ == "__main__":
    main(sys.argv[1:])
