"""Time planning, resuming, committing and opening a store of 100,000 parts, without vectors.

``python -m deploy.bench.metadata_scale`` prints the seconds and CPU seconds of each step, the peak
memory of the process after it, and the sizes of the manifests. ``--json FILE`` writes them. The
file of each part has one byte. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import complete_parts
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import read_segment
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.survey import RowGroup, Survey
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.resolve import find_model
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.checksummed_json import seal
from transforms.storage.filesystem import FileInfo
from transforms.transactions.commits import commit_segment

T = TypeVar("T")
ROWS_PER_PART, GROUPS_PER_FILE = 65_536, 100
_CONTENT = b"x"


def measure(parts: int, work: Path) -> dict[str, Any]:
    """Return seconds and peak memory of each step, and the sizes of the manifests."""
    steps: dict[str, dict[str, float]] = {}

    def timed(name: str, call: Callable[[], T]) -> T:
        started, worked = time.perf_counter(), time.process_time()
        found = call()
        seconds, cpu = time.perf_counter() - started, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        steps[name] = {
            "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu, 3),
            "peak_mb": round(peak),
        }
        return found

    store = str(work / "store")
    paths = SegmentPaths(store, "segment")
    identity = find_model(ModelOptions(DEFAULT_MODEL)).identity
    survey = _survey(parts)
    plan = timed("plan", lambda: plan_parts(survey, ROWS_PER_PART, 1e6))
    assert len(plan.parts) == parts
    timed("store the plan", lambda: paths.create_plan(plan))
    timed("read the plan", paths.read_plan)
    _finish(paths, plan)
    assert len(timed("list what is done", paths.finished_parts)) == parts
    assert len(timed("check what is done, to resume", lambda: intact_parts(paths))) == parts
    infos = timed("read the markers", lambda: complete_parts(paths, parts, ()))
    made = SegmentInfo("segment", identity, "float32", plan.files, pa.schema([]), infos, None)
    info, digest = timed("write segment.json", lambda: paths.create_manifest(made))
    timed("commit", lambda: commit_segment(store, info, digest, "append", "scale"))
    opened = timed("open", lambda: Store.open(store))
    assert opened.rows == parts * ROWS_PER_PART
    [ref] = opened.snapshot.segments
    timed("read segment.json again", lambda: read_segment(store, ref))
    return {
        "parts": parts,
        "rows": opened.rows,
        "steps": steps,
        "plan_bytes": filesystem.size(paths.plan),
        "manifest_bytes": filesystem.size(paths.manifest),
        "snapshot_bytes": filesystem.size(filesystem.join(store, "snapshots", "00000001.json")),
    }


def _survey(parts: int) -> Survey:
    """Return the survey of files whose row groups are as large as a part."""
    groups = []
    while len(groups) * GROUPS_PER_FILE < parts:
        count = min(GROUPS_PER_FILE, parts - len(groups) * GROUPS_PER_FILE)
        groups.append((RowGroup(ROWS_PER_PART, ROWS_PER_PART * 600),) * count)
    urls = [f"gs://corpus/{number:06d}.parquet" for number in range(len(groups))]
    files = tuple(FileInfo(url, 1 << 30, "generation=1") for url in urls)
    return Survey(files, ColumnOptions(), pa.schema([]), tuple(groups))


def _finish(paths: SegmentPaths, plan: Plan) -> None:
    """Write one byte for each part, and its marker as a worker writes it."""
    folder = Path(paths.vectors)
    folder.mkdir(parents=True)
    sha256 = filesystem.digest(_CONTENT)
    for part in plan.parts:
        name = f"part-{part.number:05d}-{part.number:08x}.parquet"
        (folder / name).write_bytes(_CONTENT)
        info = PartInfo(
            part.number, name, part.rows, len(_CONTENT), sha256, part.rows, part.rows * 150,
            part.rows * 600, {},
        )  # fmt: skip
        Path(paths.marker(part.number)).write_bytes(seal(asdict(info)))


def main() -> None:
    """Measure, print, and write the report if a file is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="albeam-scale-") as work:
        report = measure(arguments.parts, Path(work))
    print(f"{report['parts']:,} parts, {report['rows']:,} rows")
    for name, step in report["steps"].items():
        spent = f"{step['seconds']:9.3f} s {step['cpu_seconds']:9.3f} s of CPU"
        print(f"{name:32} {spent} {step['peak_mb']:8,.0f} MB at most", flush=True)
    for name in ("plan", "manifest", "snapshot"):
        print(f"{name:32} {report[name + '_bytes']:13,} bytes")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
