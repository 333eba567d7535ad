"""The Dataflow runner of Google Cloud: its options, its checks, and where it uses accelerators."""

import argparse
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)

from transforms.errors import BadInput
from transforms.storage.urls import is_on_disk

_NEEDED = ("project", "region", "temp_location")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


class AcceleratorOptions(PipelineOptions):
    """Options of albeam for this runner, which Beam reads together with its own."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--accelerator", help="GPU for embedding, such as nvidia-l4")
        parser.add_argument("--accelerator_machine_type", help="such as g2-standard-8")


def set_defaults(options: PipelineOptions) -> None:
    """Set the options that the user left open: the runner, the package for workers, processes.

    If there is no container image, workers install albeam from the checkout of this process.
    """
    options.view_as(StandardOptions).runner = "DataflowRunner"
    setup = options.view_as(SetupOptions)
    if not options.view_as(WorkerOptions).sdk_container_image and setup.setup_file is None:
        setup_file = Path(__file__).resolve().parents[2] / "setup.py"
        setup.setup_file = str(setup_file) if setup_file.is_file() else None
    if options.view_as(AcceleratorOptions).accelerator:
        # One process per machine: each further one would load its own model onto the same GPU.
        options.view_as(DebugOptions).add_experiment("no_use_multiple_sdk_containers")


def check(options: PipelineOptions) -> list[str]:
    """Check that a job can be submitted, and return a line for each thing that was found.

    Raises:
        BadInput: an option is missing or wrong, or Beam's packages for Google Cloud are missing.
    """
    cloud = options.view_as(GoogleCloudOptions)
    missing = [name for name in _NEEDED if not getattr(cloud, name)]
    if missing:
        names = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise BadInput(
            "runner",
            "dataflow",
            f"needs {names}",
            "Give --project PROJECT --region REGION --temp-location gs://BUCKET/FOLDER",
        )
    for name in ("temp_location", "staging_location"):
        value = getattr(cloud, name)
        if value and not value.startswith("gs://"):
            raise BadInput(name, value, "is not on Google Cloud Storage", "Give gs://BUCKET/FOLDER")
    image = options.view_as(WorkerOptions).sdk_container_image
    package = options.view_as(SetupOptions).setup_file
    if options.view_as(SetupOptions).save_main_session:
        raise BadInput("save_main_session", None, "would pickle the command line", "Leave it out")
    if not image and not package:
        raise BadInput(
            "Dataflow workers",
            None,
            "would lack albeam",
            "Give --sdk-container-image IMAGE, built from deploy/Dockerfile, or --setup-file PATH "
            "of the setup.py of a checkout",
        )
    if package and not Path(package).is_file():
        raise BadInput("setup_file", package, "does not exist", "Give the setup.py of a checkout")
    _check_accelerator(options)
    if not _has_packages():
        raise BadInput(
            "Google Cloud packages of Beam",
            None,
            "are missing",
            "Run pip install 'albeam[dataflow]'",
        )
    return [
        f"Dataflow in {cloud.project}, {cloud.region}",
        f"workers run {image}" if image else f"workers install {package}",
    ]


def _check_accelerator(options: PipelineOptions) -> None:
    given = options.view_as(AcceleratorOptions)
    accelerator, machine = given.accelerator, given.accelerator_machine_type
    if not accelerator:
        if machine:
            raise BadInput(
                "accelerator_machine_type", machine, "needs an accelerator", "Give --accelerator"
            )
        return
    if not _NAME.fullmatch(accelerator):
        raise BadInput(
            "accelerator", accelerator, "is not the name of a GPU", "Give one such as nvidia-l4"
        )
    if machine and not _NAME.fullmatch(machine):
        raise BadInput(
            "accelerator_machine_type",
            machine,
            "is not a machine type",
            "Give one such as g2-standard-8",
        )
    if not options.view_as(WorkerOptions).sdk_container_image:
        raise BadInput(
            "accelerator",
            accelerator,
            "needs a container image with CUDA",
            "Give --sdk-container-image IMAGE, built from deploy/Dockerfile.gpu",
        )
    services = options.view_as(GoogleCloudOptions).dataflow_service_options or ()
    if any(service.startswith("worker_accelerator") for service in services):
        raise BadInput(
            "accelerator",
            accelerator,
            "asks for GPUs in the embedding stages, and the service option worker_accelerator "
            "asks for them on all workers",
            "Leave one of them out",
        )
    if options.view_as(StandardOptions).streaming:
        raise BadInput(
            "accelerator",
            accelerator,
            "is only for jobs that end",
            "For a watch give --dataflow-service-options "
            f"'worker_accelerator=type:{accelerator};count:1;install-nvidia-driver'",
        )


def check_reachable(urls: tuple[str, ...]) -> None:
    """Raise BadInput if the workers of Dataflow can't read a URL."""
    for url in urls:
        if is_on_disk(url) or url.startswith("memory://"):
            raise BadInput(
                "path",
                url,
                "is on this machine, where the workers of Dataflow can't read it",
                "Use a gs:// URL",
            )


def embedding_hints(options: PipelineOptions) -> dict[str, str]:
    """Return the resource hints of the stages from read to write; none without an accelerator.

    All of these stages need the same hints: different hints break the fusion of two stages.
    """
    given = options.view_as(AcceleratorOptions)
    if not given.accelerator:
        return {}
    machine = given.accelerator_machine_type
    on = f"machine_type:{machine};" if machine else ""
    return {"accelerator": f"type:{given.accelerator};count:1;{on}install-nvidia-driver"}


def Runner() -> Any:
    """Return Beam's runner for Dataflow."""
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    return DataflowRunner()


def _has_packages() -> bool:
    try:
        return find_spec("google.cloud.dataflow_v1beta3") is not None and bool(
            find_spec("apitools")
        )
    except ModuleNotFoundError:
        return False
