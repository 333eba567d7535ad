"""tantivy's index files: writing them, and composing one index from those of many shards."""

import json
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import tantivy

from transforms.catalog.options import ANALYZER_VERSION
from transforms.index.lexical.analyzer import ANALYZER, analyzer_of

#: The version of tantivy, which determines the format of its files.
VERSION = version("tantivy")
#: Memory of a writer, in bytes. When it is full, another piece is started.
_HEAP = 128_000_000
_META = "meta.json"
#: The fields of a document: its text, and the number of its row in the shard.
TEXT, ROW = "text", "row"


@dataclass(frozen=True)
class WrittenPiece:
    """A tantivy segment in a local folder: its number of rows, and its files by name suffix."""

    rows: int
    files: dict[str, Path]


def write_index(
    folder: Path, texts: Iterable[str], language: str, version: int = ANALYZER_VERSION
) -> list[WrittenPiece]:
    """Index texts, numbered from 0, with one thread and bounded memory.

    Args:
        folder: an empty local folder.
        texts: the texts, in the order of their rows.
        language: the language of the stemmer, or ``none``.
        version: that of the analyzer.
    """
    analyzer = analyzer_of(version, language)
    index = tantivy.Index(schema(), str(folder))
    index.register_tokenizer(ANALYZER, analyzer.tokenizer)
    writer = index.writer(heap_size=_HEAP, num_threads=1)
    for row, text in enumerate(texts):
        document = tantivy.Document()
        document.add_text(TEXT, analyzer.written(text))
        document.add_unsigned(ROW, row)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    meta = json.loads((folder / _META).read_text())
    pieces = []
    for segment in meta["segments"]:
        stem = uuid.UUID(segment["segment_id"]).hex
        files = {path.suffix: path for path in sorted(folder.glob(f"{stem}.*"))}
        pieces.append(WrittenPiece(segment["max_doc"], files))
    return pieces


@dataclass(frozen=True)
class OpenPiece:
    """A tantivy segment to search.

    Attributes:
        rows: number of passages in it.
        first: the global row that is row 0 of its shard.
        files: its files, by name suffix.
        version: that of its analyzer.
    """

    rows: int
    first: int
    files: dict[str, Path]
    version: int = ANALYZER_VERSION


def schema() -> tantivy.Schema:
    """Return the fields of an index."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(TEXT, stored=False, tokenizer_name=ANALYZER, index_option="freq")
    builder.add_unsigned_field(ROW, indexed=True, fast=True)
    return builder.build()


def compose_index(folder: str, pieces: Sequence[OpenPiece]) -> None:
    """Write a ``meta.json`` whose segments are the pieces, in order, and link their files.

    The format of ``meta.json`` is private to tantivy; a test compares it with tantivy's own.
    """
    tantivy.Index(schema(), folder)
    meta = Path(folder, _META)
    value = json.loads(meta.read_text())
    value["segments"] = []
    for number, piece in enumerate(pieces):
        # tantivy's own names are random. Two pieces of equal content may share a file.
        name = uuid.UUID(int=number + 1)
        for suffix, path in piece.files.items():
            os.symlink(path.resolve(), Path(folder, name.hex + suffix))
        value["segments"].append({"segment_id": str(name), "max_doc": piece.rows, "deletes": None})
    meta.write_text(json.dumps(value))
