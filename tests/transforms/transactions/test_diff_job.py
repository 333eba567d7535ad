"""The comparison of an input with a store: what it holds in memory, and what it reads."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runners.launch import make_pipeline, pipeline_options, run_pipeline
from tests.support.stores import add_segment, make_chunk, make_format, make_segment
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.ingest.part_writer import PartWriter
from transforms.ingest.survey import survey_input
from transforms.storage import filesystem
from transforms.storage.input_files import list_inputs
from transforms.storage.schema import NO_TOKENS, REJECT
from transforms.transactions.commits import commit_segment
from transforms.transactions.diff_job import CompareDocuments, Comparison
from transforms.transactions.removal import remove_documents

#: So many row groups of so many documents of so many characters.
GROUPS, ROWS, CHARACTERS = 60, 100, 60_000
_CHILD = """
import sys
from pipeline.runners.launch import make_pipeline, pipeline_options, run_pipeline
from transforms.transactions.diff_job import CompareDocuments, Comparison
from transforms.catalog.options import ColumnOptions
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.open_snapshot import OpenSnapshot
from transforms.catalog.snapshot import read_snapshot
from transforms.storage.input_files import list_inputs
from transforms.ingest.survey import survey_input

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

store, *inputs = sys.argv[1:]
peaks = []
for number, url in enumerate(inputs):
    survey = survey_input(list_inputs((url,)), ColumnOptions(metadata=()))
    paths = SegmentPaths(store, f"run{number}")
    base = OpenSnapshot(store, read_snapshot(store))
    comparison = Comparison(paths, survey, base, "sync", "error")
    pipeline = make_pipeline("direct", pipeline_options("direct", ()))
    pipeline | "CompareDocuments" >> CompareDocuments(comparison)
    run_pipeline(pipeline)
    found = comparison.finished()
    assert sum(bucket.counts["new"] for bucket in found if "new" in bucket.counts) > survey.rows / 2
    peaks.append(peak())
print(peaks[1] - peaks[0])
"""


def write_input(path: Path, characters: int) -> None:
    """The same ids each time, texts of so many characters that don't compress to little."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    dice = np.random.default_rng(3)
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for group in range(GROUPS):
            texts = [dice.bytes(characters // 2).hex() for _ in range(ROWS)]
            ids = [f"d{group}-{row}" for row in range(ROWS)]
            writer.write_table(pa.table([ids, texts], schema=schema))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
def test_the_join_does_not_hold_the_corpus_texts(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {"d0-0": 1, "other": 1})
    small, large = tmp_path / "small.parquet", tmp_path / "large.parquet"
    write_input(small, 60)
    write_input(large, CHARACTERS)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, store, str(small), str(large)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts = GROUPS * ROWS * CHARACTERS
    assert int(done.stdout) < texts / 4


def write_live_segment(store: str, name: str, parts: int) -> None:
    """A segment of so many parts, each with a document and a reject that no run can embed."""
    paths = SegmentPaths(store, name)
    infos = []
    for number in range(parts):
        chunk = make_chunk(number, 0, 2, last=True, rejects=1)
        reasons = [reason and NO_TOKENS for reason in chunk.column(REJECT).to_pylist()]
        ids = [f"{name}-{each}" for each in chunk.column("document_id").to_pylist()]
        for column, values in ((REJECT, reasons), ("document_id", ids)):
            place = chunk.schema.get_field_index(column)
            chunk = chunk.set_column(place, chunk.schema.field(place), pa.array(values))
        writer = PartWriter(paths, number, make_format(year=pa.int16()))
        writer.write(chunk)
        infos.append(writer.finish())
    info = make_segment(name, parts=tuple(infos))
    info, digest = paths.create_manifest(info)
    commit_segment(store, info, digest, "append", "test")


def reads_of_a_comparison(store: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a comparison reads each manifest and each file of tombstones."""
    path = Path(store) / "input.parquet"
    pq.write_table(pa.table({"id": ["a"], "text": ["river"]}), path)
    survey = survey_input(list_inputs((str(path),)), ColumnOptions())
    base = OpenSnapshot(store, read_snapshot(store))
    comparison = Comparison(SegmentPaths(store, "run"), survey, base, "sync", "error")
    reads: Counter[str] = Counter()
    real = filesystem.read_bytes

    def read(url: str) -> bytes:
        if url.endswith(("segment.json", ".roaring")):
            reads[str(Path(url).relative_to(store))] += 1
        return real(url)

    with monkeypatch.context() as patched:
        patched.setattr(filesystem, "read_bytes", read)
        pipeline = make_pipeline("direct", pipeline_options("direct", ()))
        _ = pipeline | "CompareDocuments" >> CompareDocuments(comparison)
        run_pipeline(pipeline)
    counts: Counter[str] = Counter()
    for bucket in comparison.finished():
        counts.update(bucket.counts)
    assert counts["new"] == 1
    assert counts["removed"] > 0
    return reads


def test_manifests_are_read_once_per_segment_not_once_per_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for parts in (2, 12):
        store = str(tmp_path / f"store-{parts}")
        for name in ("one", "two"):
            write_live_segment(store, name, parts)
        remove_documents(store, ["one-d1-0-0"])
        reads = reads_of_a_comparison(store, monkeypatch)
        assert {url for url in reads if url.endswith("segment.json")} == {
            "segments/one/segment.json",
            "segments/two/segment.json",
        }
        found[parts] = sum(reads.values())
    assert found[2] == found[12]
