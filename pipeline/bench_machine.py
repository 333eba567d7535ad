"""The machine that a benchmark ran on, as its report names it."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.bench_systems import describe_gpu, thread_count

_PACKAGES = (
    *("albeam", "apache-beam", "torch", "transformers", "sentence-transformers"),
    *("openvino", "onnxruntime", "tokenizers", "numpy", "pyarrow"),
)
#: Of a CPU's flags, those that decide how fast it multiplies.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "amx_tile")


def describe_machine(device: str) -> dict[str, Any]:
    """Platform, processor, threads, device, date, and the versions of what is measured."""
    return {
        "platform": platform.platform(),
        "processor": _cpu_info("model name"),
        "cpu_flags": cpu_flags(),
        "cores": os.cpu_count(),
        "threads": thread_count(),
        "device": device,
        "gpu": describe_gpu(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu_flags() -> list[str]:
    """Which of the flags that matter this CPU has; none where that can't be told."""
    return [flag for flag in _FLAGS if flag in _cpu_info("flags").split()]


def _cpu_info(name: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
