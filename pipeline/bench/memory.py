"""Measure whether ``albeam embed`` needs more memory for more rows."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.bench.corpora import paragraphs
from pipeline.bench.options import MemoryOptions
from transforms.errors import AlbeamError

_CHILD = """
import sys
from pipeline.cli import main
code = main(sys.argv[1:])
try:
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
except OSError:
    import resource
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print("peak", peak)
sys.exit(code)
"""


def measure_memory(options: MemoryOptions) -> dict[str, Any]:
    """Measure the peak resident bytes of ``albeam embed --index none``, run as a process.

    Returns:
        ``rows`` and ``peak_bytes`` of the two runs, and their ``ratio``.

    Raises:
        AlbeamError: a run failed.
    """
    counts = [options.rows, 10 * options.rows]
    peaks = [_peak(count, options.model) for count in counts]
    return {"rows": counts, "peak_bytes": peaks, "ratio": peaks[1] / peaks[0]}


def _peak(rows: int, model: str) -> int:
    with tempfile.TemporaryDirectory(prefix="albeam-bench-") as work:
        file, store = Path(work) / "input.parquet", Path(work) / "store"
        table = pa.table({"id": [f"{n:09d}" for n in range(rows)], "text": paragraphs(rows)})
        pq.write_table(table, file)
        command = ["embed", str(file), "--store", str(store), "--model", model, "--index", "none"]
        done = subprocess.run(
            # The kernel counts a child from its parent's size, so the child measures itself.
            [sys.executable, "-c", _CHILD, *command, "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.startswith("peak "):
        raise AlbeamError(
            "memory test",
            None,
            f"embedding {rows} rows failed: {done.stderr.strip()[-400:]}",
            "Run albeam embed on the same machine to see the full message",
        )
    return int(last.split()[1])
