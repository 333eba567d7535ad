"""The rows of a store as files of a bundle: vectors, postings, passages, documents."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.bundles.arrays import ArrayFiles
from transforms.bundles.filters import Filters
from transforms.bundles.metadata import MetadataFile
from transforms.bundles.passages import PassageFile, PassageFolder
from transforms.bundles.postings import Postings
from transforms.catalog.options import ANALYZER_VERSION
from transforms.errors import BadInput
from transforms.search.store import Store
from transforms.storage.arrow_values import plain_rows

#: Makes JSON text of a value, as ``albeam search --json`` prints it.
JsonText = Callable[[Any], str]

_AT_ONCE = 16_384
_FIELDS = ("document_id", "passage", "start", "end", "text")


def lexical_language(store: Store) -> str | None:
    """Return the language of a store's lexical index, None without one.

    Raises:
        BadInput: the index was built by albeam 0.1, whose analyzer bundles lack.
    """
    if store.mode() != "hybrid":
        return None
    indexes = [segment.lexical for segment in store.segments if segment.lexical is not None]
    if any(each.analyzer != ANALYZER_VERSION for each in indexes):
        problem = "has a lexical index of albeam 0.1, whose way to split words bundles lack"
        remedy = f"Build it again: albeam index {store.url} --lexical auto"
        raise BadInput("store", store.url, problem, remedy)
    return indexes[0].language


def write_rows(
    store: Store, folder: Path, vectors: str, web: bool, language: str | None, json_text: JsonText
) -> dict[str, Any]:
    """Write the live rows of a store.

    Args:
        store: the store.
        folder: where to.
        vectors: one of `transforms.bundles.options.VECTORS`.
        web: whether passages are JSON files.
        language: that of the lexical index; None for no postings.
        json_text: makes JSON of metadata.

    Returns:
        What the bundle's description says of them.
    """
    files = ArrayFiles(folder)
    passages = PassageFolder(folder) if web else PassageFile(folder)
    postings = None if language is None else Postings(language)
    filters = Filters(store.columns) if web else None
    metadata = None if web else MetadataFile(folder, store.columns)
    names = [*_FIELDS, *(name for name in store.columns.names if name not in _FIELDS)]
    documents: dict[str, int] = {}
    mask = store.live.mask(None)
    for first in range(0, store.rows, _AT_ONCE):
        rows = np.arange(first, min(first + _AT_ONCE, store.rows))
        live = np.ones(len(rows), np.bool_) if mask is None else mask[rows]
        table = store.read_rows(rows, names)
        if postings is not None:
            postings.add(table.column("text").to_pylist(), live)
        table = table.filter(pa.array(live))
        ids = table.column("document_id").to_pylist()
        numbers = [documents.setdefault(each, len(documents)) for each in ids]
        files.write("documents", np.array(numbers, np.uint32), "u4")
        _write_vectors(files, store.dense.vectors(rows[live]), vectors)
        passages.write([_passage(row, json_text) for row in plain_rows(table)])
        if filters is not None:
            filters.add(table, numbers)
        if metadata is not None:
            metadata.write(table)
    if not store.rows:
        files.write("documents", np.empty(0, np.uint32), "u4")
        _write_vectors(files, np.empty((0, store.snapshot.identity.dim), np.float32), vectors)
    passages.close()
    if metadata is not None:
        metadata.close()
    about: dict[str, Any] = {"group_rows": passages.group_rows}
    about["lexical"] = None if postings is None else postings.write(folder, files)
    if metadata is not None:
        about["not_compared"] = metadata.not_compared
    if filters is not None:
        about["filters"] = filters.write(files)
    return about | {"arrays": files.about}


def _write_vectors(files: ArrayFiles, vectors: npt.NDArray[np.float32], kind: str) -> None:
    if kind == "float32":
        files.write("vectors", vectors, "f4")
        return
    if kind == "float16":
        most = float(np.finfo(np.float16).max)
        files.write("vectors", np.clip(vectors, -most, most), "f2")
        return
    scales = np.abs(vectors).max(axis=1, initial=0) / 127
    codes = np.rint(vectors / np.maximum(scales, np.finfo(np.float32).tiny)[:, None])
    files.write("vectors", np.clip(codes, -127, 127), "i1")
    files.write("scales", scales, "f4")


def _passage(row: dict[str, Any], json_text: JsonText) -> dict[str, Any]:
    metadata = {name: value for name, value in row.items() if name not in _FIELDS}
    return {name: row[name] for name in _FIELDS} | {"metadata": json_text(metadata)}
