"""The machine that a benchmark ran on, as its report names it."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.bench.systems import describe_gpu, thread_count
from transforms.runtime.processor import cpu_flags, cpu_info

_PACKAGES = (
    *("albeam", "apache-beam", "torch", "transformers", "sentence-transformers"),
    *("openvino", "onnxruntime", "tokenizers", "numpy", "pyarrow"),
)


def describe_machine(device: str) -> dict[str, Any]:
    """Platform, processor, threads, device, date, and the versions of what is measured."""
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


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
