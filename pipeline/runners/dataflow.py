"""Google Cloud Dataflow: its options, what must be there, and where an accelerator is wanted."""

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

_NEEDED = ("project", "region", "temp_location")
_WORDS = re.compile(r"[a-z0-9][a-z0-9-]*")


class AcceleratorOptions(PipelineOptions):
    """Beam reads albeam's own option of this runner with the others."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--accelerator", help="a GPU for embedding, such as nvidia-l4")
        parser.add_argument("--accelerator_machine_type", help="such as g2-standard-8")


def set_defaults(options: PipelineOptions) -> None:
    """Choose what the user left open: the runner, the package that workers install, processes.

    Without a container image of the user's own, workers install albeam from the checkout that this
    process runs from.
    """
    options.view_as(StandardOptions).runner = "DataflowRunner"
    setup = options.view_as(SetupOptions)
    if not options.view_as(WorkerOptions).sdk_container_image and setup.setup_file is None:
        found = Path(__file__).resolve().parents[2] / "setup.py"
        setup.setup_file = str(found) if found.is_file() else None
    if options.view_as(AcceleratorOptions).accelerator:
        # One process a machine: each more would load a model of its own onto the same GPU.
        options.view_as(DebugOptions).add_experiment("no_use_multiple_sdk_containers")


def check(options: PipelineOptions) -> list[str]:
    """See that a job can be submitted; gives a line for each thing that was found.

    Raises:
        BadInput: an option is missing or wrong, or Beam's Google Cloud packages are not installed.
    """
    cloud = options.view_as(GoogleCloudOptions)
    missing = [name for name in _NEEDED if not getattr(cloud, name)]
    if missing:
        names = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise BadInput(
            f"runner 'dataflow' lacks {names}; give --project PROJECT --region REGION "
            "--temp-location gs://BUCKET/FOLDER"
        )
    for name in ("temp_location", "staging_location"):
        value = getattr(cloud, name)
        if value and not value.startswith("gs://"):
            raise BadInput(
                f"{name.replace('_', '-')} {value!r} is not on Google Cloud Storage; "
                "give gs://BUCKET/FOLDER"
            )
    image = options.view_as(WorkerOptions).sdk_container_image
    package = options.view_as(SetupOptions).setup_file
    if options.view_as(SetupOptions).save_main_session:
        raise BadInput("save-main-session would pickle the command line; leave it out")
    if not image and not package:
        raise BadInput(
            "workers would lack albeam: give --sdk-container-image IMAGE, built from "
            "deploy/Dockerfile, or --setup-file PATH of a checkout's setup.py"
        )
    if package and not Path(package).is_file():
        raise BadInput(f"setup-file {package!r} is not there; name a checkout's setup.py")
    _check_accelerator(options)
    if not _has_packages():
        raise BadInput("Beam's Google Cloud packages are missing: pip install 'albeam[dataflow]'")
    return [
        f"Dataflow in {cloud.project}, {cloud.region}",
        f"workers run {image}" if image else f"workers install {package}",
    ]


def _check_accelerator(options: PipelineOptions) -> None:
    asked = options.view_as(AcceleratorOptions)
    accelerator, machine = asked.accelerator, asked.accelerator_machine_type
    if not accelerator:
        if machine:
            raise BadInput(f"accelerator-machine-type {machine!r} wants --accelerator as well")
        return
    if not _WORDS.fullmatch(accelerator):
        raise BadInput(f"accelerator {accelerator!r} is no name of a GPU; give one like nvidia-l4")
    if machine and not _WORDS.fullmatch(machine):
        raise BadInput(
            f"accelerator-machine-type {machine!r} is no type of machine; give one like "
            "g2-standard-8"
        )
    if not options.view_as(WorkerOptions).sdk_container_image:
        raise BadInput(
            f"accelerator {accelerator!r} needs --sdk-container-image IMAGE with CUDA, built from "
            "deploy/Dockerfile.gpu"
        )
    services = options.view_as(GoogleCloudOptions).dataflow_service_options or ()
    if any(each.startswith("worker_accelerator") for each in services):
        raise BadInput(
            "accelerator asks for GPUs on the embedding stages, and the service option "
            "worker_accelerator on all workers; leave one of them out"
        )
    if options.view_as(StandardOptions).streaming:
        raise BadInput(
            "accelerator is for jobs that end; for a watch give --dataflow-service-options "
            f"'worker_accelerator=type:{accelerator};count:1;install-nvidia-driver'"
        )


def check_reachable(urls: tuple[str, ...]) -> None:
    """Raise BadInput where a URL is one that Dataflow's workers can't read."""
    for url in urls:
        if "://" not in url or url.startswith(("file://", "local://", "memory://")):
            raise BadInput(
                f"{url!r} is on this machine, where Dataflow's workers can't see it; use gs://"
            )


def embedding_hints(options: PipelineOptions) -> dict[str, str]:
    """The resource hints of the stages from reading to writing; none without an accelerator.

    All of them get the same: a hint on one stage breaks its fusion with the next.
    """
    asked = options.view_as(AcceleratorOptions)
    if not asked.accelerator:
        return {}
    machine = asked.accelerator_machine_type
    on = f"machine_type:{machine};" if machine else ""
    return {"accelerator": f"type:{asked.accelerator};count:1;{on}install-nvidia-driver"}


def Runner() -> Any:
    """Beam's runner for Dataflow."""
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    return DataflowRunner()


def _has_packages() -> bool:
    try:
        return find_spec("google.cloud.dataflow_v1beta3") is not None and bool(
            find_spec("apitools")
        )
    except ModuleNotFoundError:
        return False
