"""The join of an input with a store: what it holds in memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.stores import add_segment

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
