"""What the processor can do, as the system reports it."""

from pathlib import Path

#: Of a CPU's flags, those that decide how fast it multiplies.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "amx_tile")


def cpu_flags() -> list[str]:
    """Which of the flags that matter this CPU has; none where that can't be told."""
    return [flag for flag in _FLAGS if flag in cpu_info("flags").split()]


def cpu_info(name: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, "")
