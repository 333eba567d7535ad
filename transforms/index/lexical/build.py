"""Build the lexical index of a segment, each shard on its own worker."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam

from transforms.catalog.index_manifest import IndexFile
from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.lexical_manifest import LexicalInfo, LexicalPiece, LexicalShard
from transforms.catalog.options import ANALYZER_VERSION
from transforms.catalog.parts import open_part
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.errors import BadInput, Damaged
from transforms.index.lexical import tantivy_files
from transforms.index.options import DEFAULT_LANGUAGE, LexicalOptions
from transforms.index.shard_layout import ShardPlan, plan_lexical
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import filesystem, remedies
from transforms.storage.disk_space import naming_full_disk
from transforms.storage.parquet_files import reading

_BATCH = 1_024


def choose_language(options: LexicalOptions, segments: Iterable[SegmentInfo]) -> str | None:
    """Return the language of a new segment's lexical index, which is that of the live segments.

    Returns None if the options ask for no lexical index.

    Raises:
        BadInput: the options ask for another language than the live segments have.
    """
    if options.lexical == "none":
        return None
    theirs = {each.lexical.language for each in segments if each.lexical is not None}
    wanted = options.language or (min(theirs) if theirs else DEFAULT_LANGUAGE)
    if theirs - {wanted}:
        raise BadInput(
            "language",
            wanted,
            f"differs from that of the store's lexical index, which is {min(theirs)}",
            "Leave --language out, or rebuild the lexical index of all segments: "
            f"albeam index STORE --lexical auto --language {wanted}",
        )
    return wanted


def build_lexical_shard(paths: SegmentPaths, shard: ShardPlan, language: str) -> LexicalShard:
    """Index a shard's texts, and store the files under names made from their content.

    Raises:
        Damaged: the parts can't be read, or their number of rows differs from their markers.
    """
    paths.claim()
    # One of tantivy's threads, which watches for changes, may lock the folder while it is removed.
    with (
        naming_full_disk(tempfile.gettempdir()),
        tempfile.TemporaryDirectory(prefix="albeam-", ignore_cleanup_errors=True) as folder,
    ):
        written = tantivy_files.write_index(Path(folder), _texts(paths, shard), language)
        pieces = tuple(
            LexicalPiece(
                piece.rows,
                tuple(_put(paths, shard.number, path) for path in piece.files.values()),
            )
            for piece in written
        )
    rows = sum(piece.rows for piece in pieces)
    if rows != shard.rows:
        raise Damaged(
            "segment",
            paths.root,
            f"its parts have {rows} rows, but their markers say {shard.rows}",
            remedies.NEW_STORE,
        )
    return LexicalShard(shard.number, rows, shard.first_row, pieces)


def build_lexical(
    paths: SegmentPaths, parts: tuple[PartInfo, ...], language: str | None
) -> LexicalInfo | None:
    """Build the lexical index in this process, shard by shard; see `IndexTexts`."""
    if language is None:
        return None
    shards = [build_lexical_shard(paths, shard, language) for shard in plan_lexical(parts)]
    return LexicalInfo(language, tuple(shards), ANALYZER_VERSION)


def _texts(paths: SegmentPaths, shard: ShardPlan) -> Iterator[str]:
    for part in shard.parts:
        url = filesystem.join(paths.vectors, part.name)
        with open_part(paths, part) as file, reading(url):
            for batch in file.iter_batches(_BATCH, columns=["text"]):
                yield from batch.column(0).to_pylist()


def _put(paths: SegmentPaths, shard: int, source: Path) -> IndexFile:
    stem = f"shard-{shard:05d}"
    with filesystem.put_by_content(paths.lexical, stem, source.suffix) as written:
        shutil.copyfile(source, written.path)
    return IndexFile(written.name, written.bytes, written.sha256)


def create_lexical_info(paths: SegmentPaths, info: LexicalInfo) -> IndexFile:
    """Create the file that describes a lexical index, or return the existing one."""
    filesystem.create_exclusively(_info_url(paths, info.language), info.to_json())
    existing = find_lexical_info(paths, info.language)
    assert existing is not None
    return existing


def find_lexical_info(paths: SegmentPaths, language: str) -> IndexFile | None:
    """Return the file that describes the lexical index, if an earlier run created it."""
    url = _info_url(paths, language)
    try:
        content = filesystem.read_bytes(url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return IndexFile(url.rsplit("/", 1)[-1], len(content), filesystem.digest(content))


def _info_url(paths: SegmentPaths, language: str) -> str:
    how = {"language": language, "tantivy": tantivy_files.VERSION, "analyzer": ANALYZER_VERSION}
    name = segment_name(how)
    return filesystem.join(paths.lexical, f"lexical-{name}.json")


def _number(shard: LexicalShard) -> int:
    return shard.number


class _ShardsFn(CheckedFn):
    def process(self, element: tuple[PartInfo, ...]) -> Iterator[ShardPlan]:
        yield from plan_lexical(element)


class _BuildFn(CheckedFn):
    def __init__(self, paths: SegmentPaths, language: str) -> None:
        super().__init__()
        self._paths, self._language = paths, language

    def process(self, element: ShardPlan) -> Iterator[LexicalShard]:
        yield build_lexical_shard(self._paths, element, self._language)


class _GatherFn(CheckedFn):
    def __init__(self, language: str) -> None:
        super().__init__()
        self._language = language

    def process(
        self, _: tuple[PartInfo, ...], shards: Sequence[LexicalShard]
    ) -> Iterator[LexicalInfo]:
        ordered = tuple(sorted(shards, key=_number))
        yield LexicalInfo(self._language, ordered, ANALYZER_VERSION)


class IndexTexts(beam.PTransform):
    """Transform from all parts of a segment, as one element, to its `LexicalInfo`."""

    def __init__(self, paths: SegmentPaths, language: str) -> None:
        super().__init__()
        self._paths, self._language = paths, language

    def expand(
        self, pcoll: beam.PCollection[tuple[PartInfo, ...]]
    ) -> beam.PCollection[LexicalInfo]:
        """Wire `plan_lexical` and `build_lexical_shard`."""
        built = (
            pcoll
            | "PlanShards" >> beam.ParDo(_ShardsFn()).with_output_types(ShardPlan)
            | "Spread" >> beam.Reshuffle()
            | "BuildShard"
            >> beam.ParDo(_BuildFn(self._paths, self._language)).with_output_types(LexicalShard)
        )
        gather = beam.ParDo(_GatherFn(self._language), beam.pvalue.AsList(built))
        return pcoll | "Gather" >> gather.with_output_types(LexicalInfo)


class _CreateLexicalInfoFn(CheckedFn):
    def __init__(self, paths: SegmentPaths) -> None:
        super().__init__()
        self._paths = paths

    def process(self, element: LexicalInfo) -> Iterator[IndexFile]:
        yield create_lexical_info(self._paths, element)


class CreateLexicalInfo(beam.PTransform):
    """Transform from a `LexicalInfo` to its file, for a segment that already has a manifest."""

    def __init__(self, paths: SegmentPaths) -> None:
        super().__init__()
        self._paths = paths

    def expand(self, pcoll: beam.PCollection[LexicalInfo]) -> beam.PCollection[IndexFile]:
        """Wire `create_lexical_info`."""
        create = beam.ParDo(_CreateLexicalInfoFn(self._paths))
        return pcoll | "CreateFile" >> create.with_output_types(IndexFile)
