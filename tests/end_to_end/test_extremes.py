"""Inputs and machines at the edge of what is usual: right results, or a reject, and no crash."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.support.models import make_texts
from transforms import Store
from transforms.encoder.reference import reference_vectors
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model
from transforms.models.tokenizer import load_tokenizer
from transforms.storage.vectors import vectors_to_numpy

ROOT = Path(__file__).resolve().parents[2]


def command(albert: Path, input_: Path, store: Path) -> list[str]:
    return [
        "embed", str(input_), "--store", str(store), "--model", str(albert), "--max-tokens", "48",
        "--stride", "8", "--device", "cpu", "--dtype", "float32",
    ]  # fmt: skip


def write(path: Path, texts: list[str | None]) -> Path:
    ids = [f"d{number:05d}" for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": pa.array(texts, pa.string())}), path)
    return path


def test_a_text_of_a_million_characters_and_ten_thousand_without_any(
    tmp_path: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(make_texts(400, seed=3, longest=80))
    long = (words + " ") * (1_000_000 // len(words) + 1)
    empty: list[str | None] = ["", None, "  \n"]
    texts = [*make_texts(5, seed=1), long, *(empty * 3_334)[:10_000], *make_texts(5, seed=2)]
    input_ = write(tmp_path / "input.parquet", texts)
    assert main(command(albert, input_, tmp_path / "store")) == 0
    assert "3,333 blank text" in capsys.readouterr().out
    store = Store.open(str(tmp_path / "store"), dtype="float32")
    assert store.snapshot.documents == 11
    assert sum(store.snapshot.segments[0].rejects.values()) == 10_000
    table = pa.concat_tables(store.documents())
    ours = table.filter(pc.equal(table.column("document_id"), "d00005"))
    starts, ends = ours.column("start").to_pylist(), ours.column("end").to_pylist()
    assert starts[0] == 0
    assert long[ends[-1] :].strip() == ""
    assert all(start < end for start, end in zip(starts[1:], ends, strict=False))
    model = find_model(ModelOptions(str(albert), max_tokens=48))
    some = ours.take(list(range(0, ours.num_rows, 500)))
    ids = load_tokenizer(model).encode_framed(some.column("text").to_pylist(), 48)
    cosines = (vectors_to_numpy(some["vector"]) * reference_vectors(model, ids)).sum(1)
    assert cosines.min() >= 0.999999


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no cores")
def test_one_core_makes_the_same_vectors_as_all(tmp_path: Path, albert: Path) -> None:
    input_ = write(tmp_path / "input.parquet", [*make_texts(30, seed=4)])
    assert main(command(albert, input_, tmp_path / "all")) == 0
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, *command(albert, input_, tmp_path / "one")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    ours, theirs = (
        pa.concat_tables(Store.open(str(tmp_path / name)).documents()) for name in ("one", "all")
    )
    assert ours.drop(["vector"]).equals(theirs.drop(["vector"]))
    np.testing.assert_allclose(
        vectors_to_numpy(ours["vector"]), vectors_to_numpy(theirs["vector"]), atol=2e-6
    )


#: Embeds long batches with 300 MB of address space left; prints the budget that came of it.
LIMITED = """
import resource, sys
import numpy as np, pyarrow as pa
from transforms.encoder.batching import Budget
from transforms.encoder.encoder import load_encoder
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model

encoder = load_encoder(find_model(ModelOptions(sys.argv[1])), Placement("cpu", "float32"))
encoder._most = 1_000_000
encoder._budget = Budget(1_000_000)
random = np.random.default_rng(0)
ids = [random.integers(5, 60, 50).tolist() for _ in range(20_000)]
tokens = pa.array(ids, pa.list_(pa.int32()))
expected = encoder.encode(tokens.slice(0, 100)).vectors
kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (1024 * kb + (300 << 20), resource.RLIM_INFINITY))
found = encoder.encode(tokens)
assert not found.failed, len(found.failed)
np.testing.assert_allclose(found.vectors[:100], expected, atol=2e-6)
print(encoder.budget)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux counts it")
def test_a_process_with_little_memory_embeds_all_in_smaller_batches(albert: Path) -> None:
    words = [sys.executable, "-c", LIMITED, str(albert)]
    few = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=few)
    assert done.returncode == 0, done.stderr
    assert 5_000 < int(done.stdout) < 1_000_000
    assert "out of memory: batches now have" in done.stderr
