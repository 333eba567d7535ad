"""Opening the lexical indexes of a store's segments as one index."""

from collections.abc import Sequence
from pathlib import PurePath

from transforms.catalog.layout import SegmentPaths
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.segment import SegmentInfo
from transforms.errors import BadInput
from transforms.index.lexical.tantivy_files import OpenPiece
from transforms.index.lexical.tantivy_index import LexicalIndex
from transforms.storage import filesystem
from transforms.storage.file_cache import FileCache
from transforms.storage.remedies import BUILD_LEXICAL


def open_lexical(url: str, segments: Sequence[SegmentInfo], cache: FileCache) -> LexicalIndex:
    """Open the lexical indexes of segments, which must all have one, as one index.

    Args:
        url: the store's URL.
        segments: the segments, in the order of their global rows.
        cache: checks the files, and keeps copies of remote ones.

    Raises:
        BadInput: the indexes have different languages.
        Damaged: a file is missing, differs from its digest, or can't be read.
    """
    language = lexical_language(url, segments)
    where = SegmentPaths(url, segments[0].name).lexical if len(segments) == 1 else url
    try:
        return LexicalIndex(_pieces(url, segments, cache), language, where)
    except FileNotFoundError:
        # Another process removed a cached copy meanwhile.
        return LexicalIndex(_pieces(url, segments, cache), language, where)


def lexical_language(url: str, segments: Sequence[SegmentInfo]) -> str:
    """Return the language of the lexical indexes of segments; ``none`` if there are no indexes.

    Raises:
        BadInput: the indexes have different languages.
    """
    languages = {each.lexical.language for each in segments if each.lexical is not None}
    if len(languages) > 1:
        raise BadInput(
            "store",
            url,
            f"has lexical indexes of several languages: {', '.join(sorted(languages))}",
            "Rebuild them: albeam index STORE --lexical auto --language LANGUAGE",
        )
    return min(languages, default="none")


def _pieces(url: str, segments: Sequence[SegmentInfo], cache: FileCache) -> list[OpenPiece]:
    pieces = []
    first = 0
    for segment in segments:
        folder = SegmentPaths(url, segment.name).lexical
        info = segment.lexical or LexicalInfo("none", ())
        for shard in info.shards:
            for piece in shard.pieces:
                files = {
                    PurePath(file.name).suffix: cache.fetch(
                        filesystem.join(folder, file.name), file.bytes, file.sha256, BUILD_LEXICAL
                    )
                    for file in piece.files
                }
                pieces.append(OpenPiece(piece.rows, first + shard.first_row, files, info.analyzer))
        first += segment.rows
    return pieces
