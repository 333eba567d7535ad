"""A store with the documents of two tenants, and the service over it."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest.embed import run as embed
from pipeline.serving.core.models import Models
from pipeline.serving.core.requests import Access
from pipeline.serving.core.service import Service
from pipeline.serving.options import Limits
from tests.support.models import make_pair_model, make_texts
from tests.support.options import embed_options
from transforms.search.condition import Condition
from transforms.search.store import Store

#: What a client of tenant ``a`` may see; every third document is of tenant ``b``.
ONLY_A = Access("client", where=Condition("tenant = 'a'"), operator=False)
#: A condition that fails on the documents of tenant ``b`` alone.
TRAP = "CAST(CASE WHEN tenant = 'b' THEN secret ELSE '1' END AS INT) = 1"
SECRET = "hunter2"


def write_tenants(folder: Path, texts: list[str], first: int = 0) -> Path:
    """Write documents of two tenants as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + len(texts))
    named = zip(numbers, texts, strict=True)
    columns = {
        "id": [f"doc-{n:03d}" for n in numbers],
        "text": [f"{text} {SECRET}" if n % 3 == 0 else text for n, text in named],
        "tenant": ["b" if n % 3 == 0 else "a" for n in numbers],
        "secret": [f"{SECRET}-{n}" if n % 3 == 0 else "none" for n in numbers],
        "year": pa.array([2000 + n % 7 for n in numbers], pa.int16()),
        "tags": [[f"t{n % 3}", f"u{n % 5}"] for n in numbers],
    }
    pq.write_table(pa.table(columns), folder / f"docs-{first}.parquet")
    return folder


@pytest.fixture(scope="session")
def tenants(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """The store; a test must not change it."""
    folder = tmp_path_factory.mktemp("tenants")
    write_tenants(folder / "corpus", make_texts(60, seed=3))
    embed(embed_options(folder / "store", albert, folder / "corpus"))
    return folder / "store"


@pytest.fixture(scope="session")
def opened(tenants: Path) -> Store:
    """The store, open, with vectors that are the same on every machine."""
    return Store.open(str(tenants), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def pair_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folders of a tiny reader and a tiny reranker."""
    folder = tmp_path_factory.mktemp("pairs")
    reader = make_pair_model(folder / "reader", "read", labels=2)
    return str(reader), str(make_pair_model(folder / "reranker", "rank"))


@pytest.fixture
def service(opened: Store) -> Iterator[Service]:
    """A service over the store, without further models."""
    made = Service({"main": opened}, Models(), Limits())
    yield made
    made.close()
