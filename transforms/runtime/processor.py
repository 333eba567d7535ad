"""The features of the processor, as the system reports them."""

from pathlib import Path

#: The flags that decide how fast a CPU multiplies matrices.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "amx_tile")


def cpu_flags() -> list[str]:
    """Return the relevant flags that this CPU has; none if they are unknown."""
    return [flag for flag in _FLAGS if flag in cpu_info("flags").split()]


def cpu_info(name: str) -> str:
    """Return a field of the first processor in /proc/cpuinfo; "" if there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, "")
