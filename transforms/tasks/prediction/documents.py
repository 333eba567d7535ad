"""The vectors of single documents: those that a store holds, and those of new texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.catalog.snapshot import Snapshot
from transforms.errors import BadInput
from transforms.ingest.options import PassageOptions
from transforms.ingest.part_tables import ROWS_PER_CHUNK
from transforms.ingest.passages import check_passage_options, split_passages
from transforms.ingest.read_parts import reject_reasons
from transforms.storage.schema import FILE, HASH, REJECT, ROW, VECTOR
from transforms.storage.vectors import vectors_to_numpy
from transforms.tasks.data.labels import LabelledRows
from transforms.tasks.vector_heads.vector_head import Vectors, document_vectors
from transforms.transactions.compaction import Source
from transforms.transactions.compaction_rows import whole_documents

if TYPE_CHECKING:
    from transforms.encoder.encoder import Encoder

_READ = ("document_id", "text", VECTOR)


@dataclass(frozen=True)
class Documents:
    """Documents with vectors.

    Attributes:
        rows: the place of each among the rows that were asked for, int64.
        vectors: float32 ``[documents, dim]``, each the normalized mean of the passages' vectors.
        texts: the text of each, or its first passage.
    """

    rows: np.ndarray
    vectors: Vectors
    texts: list[str]

    def __len__(self) -> int:
        return len(self.rows)


def unique_documents(rows: LabelledRows, identity: str) -> LabelledRows:
    """Return labelled rows with each document once.

    Raises:
        BadInput: a document has two labels.
    """
    ids = rows.columns[identity]
    table = pa.table({"id": ids, "row": pa.array(np.arange(len(rows)))})
    first = table.group_by("id", use_threads=False).aggregate([("row", "min")])
    if first.num_rows == len(rows):
        return rows
    places = first.column("row_min")
    of_each = places.take(pc.index_in(ids, value_set=first.column("id").combine_chunks()))
    labels = rows.labels.to_pylist()
    for row, place in enumerate(of_each.to_pylist()):
        if labels[row] != labels[place]:
            problem = f"gives the document {ids[row].as_py()!r} two labels"
            raise BadInput(rows.option, rows.source, problem, "Leave one of them")
    columns = {name: column.take(places) for name, column in rows.columns.items()}
    return LabelledRows(
        rows.option, rows.source, columns, rows.labels.take(places), rows.integers, rows.several
    )


def stored_documents(store: str, snapshot: Snapshot, ids: pa.ChunkedArray) -> Documents:
    """Return those of some documents that a snapshot has live, in its order.

    Args:
        store: the store's URL.
        snapshot: the snapshot.
        ids: document ids, each once.
    """
    wanted = ids.combine_chunks()
    rows, vectors, texts = [np.zeros(0, np.int64)], [], []
    for ref in snapshot.segments:
        source = Source.open(store, ref)
        for part, mask in source.masks():
            for table in whole_documents(source.paths, part, mask, _READ):
                found = pc.index_in(table.column("document_id"), value_set=wanted)
                known = table.filter(pc.is_valid(found))
                if not known.num_rows:
                    continue
                place = pc.drop_null(found).to_numpy().astype(np.int64)
                firsts = np.flatnonzero(np.concatenate([[True], place[1:] != place[:-1]]))
                rows.append(place[firsts])
                vectors.append(document_vectors(firsts, vectors_to_numpy(known.column(VECTOR))))
                texts += known.column("text").take(pa.array(firsts)).to_pylist()
    dim = snapshot.identity.dim
    joined = np.concatenate([np.zeros((0, dim), np.float32), *vectors])
    return Documents(np.concatenate(rows), joined, texts)


def embedded_documents(texts: Sequence[str | None], encoder: Encoder, stride: int) -> Documents:
    """Embed texts as ``albeam embed`` does; texts that it rejects are left out."""
    from transforms.ingest.embed_passages import embed_passages
    from transforms.tasks.prediction.predict import gather_documents

    identity = encoder.identity
    options = PassageOptions(identity.max_tokens, stride, identity.passage_prompt)
    check_passage_options(options, encoder.tokenizer)
    rows, vectors = [np.zeros(0, np.int64)], [np.zeros((0, identity.dim), np.float32)]
    for table in _tables(texts):
        passages = split_passages(table, encoder.tokenizer, options)
        documents, found = gather_documents(embed_passages(passages, encoder))
        good = pc.is_null(documents.column(REJECT)).to_numpy()
        rows.append(documents.column(ROW).to_numpy()[good])
        vectors.append(found[good])
    kept = np.concatenate(rows)
    return Documents(kept, np.concatenate(vectors), [texts[row] or "" for row in kept.tolist()])


def _tables(texts: Sequence[str | None]) -> Iterator[pa.Table]:
    """Yield texts as the tables of documents that `split_passages` takes."""
    for start in range(0, len(texts), ROWS_PER_CHUNK):
        some = list(texts[start : start + ROWS_PER_CHUNK])
        places = np.arange(start, start + len(some))
        ids = [str(place) for place in places]
        yield pa.table(
            {
                "document_id": pa.array(ids, pa.string()),
                "text": pa.array(some, pa.string()),
                "metadata_hash": pa.nulls(len(some), HASH),
                FILE: pa.array([""] * len(some), pa.string()),
                ROW: pa.array(places, pa.int64()),
                REJECT: pa.array(reject_reasons(list(ids), some), pa.string()),
            }
        )
