"""The GPUs of a job: ``--devices 0,1`` gives each worker process a GPU of its own."""

import argparse
import json
import re
from collections.abc import MutableMapping, Sequence

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, PortableOptions

from pipeline.command_line.runner_names import DIRECT
from transforms.errors import BadInput

#: The variables by which CUDA limits a process to some GPUs, and by which Flink's workers get the
#: GPUs of the job.
VISIBLE, DEVICES = "CUDA_VISIBLE_DEVICES", "ALBEAM_DEVICES"
#: Beam's defaults, and the threads that keep a GPU busy: one reads and tokenizes, one computes, one
#: writes.
_ALONE = "in_memory", 1
_THREADS = 3


class DeviceOptions(PipelineOptions):
    """Options of albeam for GPUs, which Beam reads together with its own."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--devices", help="a worker process for each of these GPUs, as 0,1")


def parse_devices(text: str) -> tuple[int, ...]:
    """Return the numbers of GPUs in a list such as ``0,1``.

    Raises:
        BadInput: it is no such list, or a number occurs twice.
    """
    remedy = "Give numbers such as 0,1"
    if not re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3})*", text):
        raise BadInput("devices", text, "is not a list of numbers of GPUs", remedy)
    found = tuple(map(int, text.split(",")))
    if len(set(found)) < len(found):
        raise BadInput("devices", text, "names a GPU twice", remedy)
    return found


def set_defaults(runner: str, options: PipelineOptions) -> None:
    """Make the options of the runner fit ``--devices``, if it is given.

    Raises:
        BadInput: the list is wrong, this machine lacks a GPU of it, or the workers of the runner
            can't be given GPUs.
    """
    text = options.view_as(DeviceOptions).devices
    if text is None:
        return
    devices = parse_devices(text)
    portable = options.view_as(PortableOptions)
    if runner == DIRECT:
        _check_count(text, devices)
        direct = options.view_as(DirectOptions)
        direct.direct_running_mode = "multi_processing"
        direct.direct_num_workers = max(direct.direct_num_workers, len(devices))
    elif runner == "flink" and portable.environment_type == "PROCESS":
        config = json.loads(portable.environment_config)
        config["env"] = (config.get("env") or {}) | {DEVICES: text}
        portable.environment_config = json.dumps(config)
    else:
        raise BadInput(
            "devices",
            text,
            "is for --runner direct, and for Flink with --workers PROCESS",
            f"Start a worker or a worker pool for each GPU, with {VISIBLE} set to its number",
        )


def keep_busy(runner: str, options: PipelineOptions) -> None:
    """Let the direct runner use threads for a GPU, unless the user chose its workers.

    Some of them read, tokenize and write while another computes. They share one loaded model.
    """
    direct = options.view_as(DirectOptions)
    if runner == DIRECT and (direct.direct_running_mode, direct.direct_num_workers) == _ALONE:
        direct.direct_running_mode = "multi_threading"
        direct.direct_num_workers = _THREADS


def _check_count(text: str, devices: Sequence[int]) -> None:
    from transforms.runtime.devices import gpu_count

    count = gpu_count()
    if max(devices) >= count:
        known = f"0 to {count - 1}" if count else "none"
        remedy = "Name some of these" if count else "Leave it out, or give --device cpu"
        raise BadInput("devices", text, f"names a GPU that torch does not see: {known}", remedy)


def pin_worker(
    environment: MutableMapping[str, str], devices: Sequence[int], worker: str
) -> str | None:
    """Limit a worker process to one of the GPUs, before it loads torch; return which.

    Workers are numbered, so they take the GPUs by turns. The numbers count those that this process
    may see.

    Args:
        environment: the variables of the process.
        devices: the GPUs of the job.
        worker: the worker's id, which ends in its number, as ``worker_3`` or ``1-3``.
    """
    numbers = re.findall(r"[0-9]+", worker)
    if not devices or not numbers:
        return None
    chosen = str(devices[int(numbers[-1]) % len(devices)])
    visible = [name.strip() for name in environment.get(VISIBLE, "").split(",") if name.strip()]
    if visible:
        chosen = visible[int(chosen) % len(visible)]
    environment[VISIBLE] = chosen
    return chosen
