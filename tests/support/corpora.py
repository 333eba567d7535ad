"""A small store of real texts, embedded by the model that comes with albeam."""

from pathlib import Path

import pyarrow.parquet as pq

from pipeline.demo import QUESTIONS, write_corpus
from pipeline.ingest.embed import run as embed
from tests.support.options import embed_options
from transforms.models.options import DEFAULT_MODEL

_DOCUMENTS = 700


def small_demo(folder: Path) -> Path:
    """Embed some of the demo's documents, among them those that answer its questions."""
    write_corpus(folder / "all")
    table = pq.read_table(folder / "all")
    wanted = {name for _, names in QUESTIONS for name in names}
    step = max(len(table) // _DOCUMENTS, 1)
    ids = table.column("id").to_pylist()
    kept = [row for row, name in enumerate(ids) if row % step == 0 or name in wanted]
    (folder / "corpus").mkdir()
    pq.write_table(table.take(kept), folder / "corpus" / "some.parquet")
    embed(embed_options(folder / "store", DEFAULT_MODEL, folder / "corpus"))
    return folder / "store"
