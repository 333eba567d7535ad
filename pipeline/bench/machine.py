"""The machine that a benchmark runs on, as its report describes it."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from transforms.runtime.processor import cpu_flags, cpu_info

_PACKAGES = (
    *("albeam", "apache-beam", "torch", "transformers", "sentence-transformers"),
    *("openvino", "onnxruntime", "tokenizers", "numpy", "pyarrow"),
)


def describe_machine(device: str) -> dict[str, Any]:
    """Return platform, processor, threads, device, date and the versions of what is measured."""
    return {
        "platform": platform.platform(),
        "processor": cpu_info("model name"),
        "cpu_flags": cpu_flags(),
        "cores": os.cpu_count(),
        "threads": thread_count(),
        "device": device,
        "gpu": describe_gpu(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "date": time.strftime("%Y-%m-%d"),
    }


def thread_count() -> int:
    """Return the number of threads that PyTorch, and every system here, computes with."""
    return torch.get_num_threads()


def describe_gpu() -> dict[str, Any] | None:
    """Return name, compute capability and bytes of the GPU; None if there is none."""
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    capability = f"{found.major}.{found.minor}"
    return {"name": found.name, "capability": capability, "bytes": found.total_memory}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
