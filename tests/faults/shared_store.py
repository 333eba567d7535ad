"""A store with all kinds of files that a reader opens, and what searches of it find."""

import os
import pickle
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: The kind of vector index of each segment; `make` takes the first ones.
INDEXES = ("IVF16,SQ8", "HNSW8", "IVF8,PQ12x4fsr", "flat", "none")
#: The sample of an index of the tiny corpus says little about its recall.
_RECALL = 0.1
CONDITIONS = (None, "year < 2009", "year = 2003", "document_id like '%7'")
ROWS = 640


@dataclass(frozen=True)
class Search:
    """The arguments of one search."""

    questions: tuple[str, ...]
    mode: str
    k: int
    where: str | None
    fusion: str = "combination"
    diverse: bool = False


def make(folder: Path, segments: int = len(INDEXES)) -> None:
    """Make a tiny model, a reranker, a reader and a store, whose segments have tombstones."""
    from pipeline.ingest.embed import run
    from tests.support.models import make_model, make_pair_model, make_texts
    from tests.support.options import embed_options
    from transforms.index.options import IndexOptions
    from transforms.transactions.removal import remove_documents

    make_model(folder / "model")
    make_pair_model(folder / "reranker", "rank")
    make_pair_model(folder / "reader", "read", labels=2)
    for number, index in enumerate(INDEXES[:segments]):
        corpus = _write_corpus(folder / f"corpus-{number}", make_texts(ROWS, number, 30), number)
        options = embed_options(
            folder / "store", folder / "model", corpus,
            rows_per_part=ROWS * 2 // 3, index=IndexOptions(index, _RECALL, shards=1 + number % 2),
        )  # fmt: skip
        run(options)
    gone = [f"{number}-{row}" for number in range(segments) for row in range(0, ROWS, 9)]
    remove_documents(str(folder / "store"), gone)


def _write_corpus(folder: Path, texts: list[str], number: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    ids = [f"{number}-{row}" for row in range(len(texts))]
    years = [2000 + row % 20 for row in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts, "year": years}), folder / "a.parquet")
    return folder


def searches(count: int, seed: int) -> list[Search]:
    """Seeded searches of all modes, with and without conditions, also of several questions."""
    from tests.support.models import make_texts

    chosen = random.Random(seed)
    questions = make_texts(40, seed=1_000 + seed, longest=12)
    # Some longer than what one core embeds.
    questions += [" ".join(questions[:12]), " ".join(questions[12:30])]
    return [
        Search(
            tuple(chosen.choices(questions, k=chosen.choice((1, 1, 1, 5)))),
            chosen.choice(("dense", "lexical", "hybrid")),
            chosen.choice((3, 50, 400)),
            chosen.choice(CONDITIONS),
            chosen.choice(("combination", "rrf")),
            chosen.random() < 0.1,
        )
        for _ in range(count)
    ]


def answer(store: Any, search: Search) -> list[list[tuple[str, int, float]]]:
    """What a search finds, with all that it reads."""
    found = store.search(
        list(search.questions), search.k, search.mode, search.where,
        search.fusion, diverse=search.diverse,
    )  # fmt: skip
    return [[(hit.document_id, hit.passage, hit.score) for hit in line] for line in found]


def write_expected(folder: Path, count: int, seed: int) -> None:
    """Write searches and what they find one after the other."""
    from transforms.search.store import Store

    store = Store.open(str(folder / "store"), dtype="float32")
    pairs = [(search, answer(store, search)) for search in searches(count, seed)]
    (folder / "expected.pickle").write_bytes(pickle.dumps(pairs))


def read_expected(folder: Path) -> list[tuple[Search, list]]:
    """Read what `write_expected` wrote."""
    pairs: list[tuple[Search, list]] = pickle.loads((folder / "expected.pickle").read_bytes())
    return pairs


def check_same(search: Search, found: list, expected: list) -> None:
    """Raise AssertionError if a search found something else."""
    assert len(found) == len(expected), search
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs), (search, len(ours), len(theirs))
        apart = max((abs(a[2] - b[2]) for a, b in zip(ours, theirs, strict=True)), default=0)
        assert apart < 1e-5, (search, apart)
        # The last bits of scores may depend on the number of threads.
        ties = {round(score, 4) for _, _, score in theirs}
        if len(ties) == len(theirs):
            assert [each[:2] for each in ours] == [each[:2] for each in theirs], search


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that reads the store: several threads, its own home folder."""
    own = {"HOME": str(folder), "TMPDIR": str(folder), "HF_HUB_OFFLINE": "1"}
    # Other tests run with one thread a process, and without threads of the tokenizer.
    several = {"OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "true"}
    return os.environ | own | several


def in_process(module: str, folder: Path, seconds: float, timeout: float, *words: Any) -> str:
    """Run a module of this package with a store, in a process of its own; what it prints."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", module, "--folder", folder,
         "--seconds", str(seconds), *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout,
        env=environment(folder),
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"exit {done.returncode}: {done.stderr[-6_000:]}")
    return done.stdout.strip()
