"""Messages of a stream become files of a folder that a store watches.

A message brings a document or deletes one. Messages are gathered for some seconds. The newest of
each document go to a Parquet file under ``messages/<name>/`` in the store. The file is named after
its content, so a batch that a runner repeats writes the same file. `WatchFiles` takes these files
like any others. Versions decide which message counts, so late, repeated and disordered messages do
no harm; see `message_versions`.
"""

import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows

from transforms.catalog.manifest_json import check_name
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput, Damaged, check_above_zero, check_at_least
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import filesystem
from transforms.storage.schema import METRICS, RESERVED
from transforms.streaming.message_versions import VERSION

_ID, _TEXT = "id", "text"
_REJECTED = pa.schema([("message", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Message:
    """A new version of a document, or its deletion.

    Attributes:
        id: the document's id.
        text: the document's text; None deletes the document.
        version: the greatest version of an id counts; None takes the element's timestamp in
            microseconds.
        metadata: values of the metadata columns by name; a column without a value is null.
    """

    id: str
    text: str | None
    version: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MessageOptions:
    """Options that decide how the messages of a stream are gathered.

    Attributes:
        store: the store's URL.
        name: the stream's name, a plain file name; a stream that restarts under its name resumes.
        metadata: names and types of the metadata columns.
        every: the most seconds for which messages are gathered.
        most: the most messages of a file.
        shards: number of files that are gathered at once, each on its own worker.
    """

    store: str
    name: str
    metadata: pa.Schema = field(default_factory=lambda: pa.schema([]))
    every: float = 10.0
    most: int = 10_000
    shards: int = 1

    def __post_init__(self) -> None:
        """Raise BadInput if an option can't be used."""
        try:
            check_name(self.name)
        except Damaged as error:
            remedy = "Give letters, digits, dots, hyphens and underscores"
            raise BadInput("name", self.name, "is not a plain file name", remedy) from error
        taken = sorted((RESERVED | {_ID, VERSION}) & set(self.metadata.names))
        if taken:
            raise BadInput("metadata column", taken[0], "has a reserved name", "Rename it")
        check_above_zero("every", self.every)
        check_at_least("most", self.most, 1)
        check_at_least("shards", self.shards, 1)

    @property
    def folder(self) -> str:
        """The folder that has the stream's files until their rows are in the store."""
        return filesystem.join(self.store, "messages", self.name)

    @property
    def columns(self) -> ColumnOptions:
        """The columns of the files."""
        return ColumnOptions(_ID, _TEXT, tuple((name, name) for name in self.metadata.names))

    @property
    def schema(self) -> pa.Schema:
        """The schema of the files."""
        known = pa.schema([(_ID, pa.string()), (_TEXT, pa.string()), (VERSION, pa.int64())])
        return pa.unify_schemas([known, self.metadata])


def newest_messages(
    messages: Iterable[Message], options: MessageOptions
) -> tuple[pa.Table, pa.Table]:
    """Select the newest message of each document, ordered by id, and reject invalid messages.

    Returns:
        A table of ``options.schema``, and one of ``message`` (as JSON) and ``reason``.
    """
    newest: dict[str, dict[str, Any]] = {}
    rejected: list[dict[str, str]] = []
    for message in messages:
        reason = _reason(message, options)
        if reason:
            content = json.dumps(asdict(message), sort_keys=True, default=repr)
            rejected.append({"message": content, "reason": reason})
        elif message.id not in newest or message.version >= newest[message.id][VERSION]:
            known = {_ID: message.id, _TEXT: message.text, VERSION: message.version}
            newest[message.id] = message.metadata | known
    table = pa.Table.from_pylist([newest[name] for name in sorted(newest)], options.schema)
    return table, pa.Table.from_pylist(rejected, _REJECTED)


def land(messages: Iterable[Message], options: MessageOptions) -> tuple[int, int]:
    """Write messages to the stream's folder, and rejected ones to ``_rejects`` in it.

    Returns:
        The number of documents and of rejected messages in the files.
    """
    table, rejected = newest_messages(messages, options)
    for folder, rows in (
        (options.folder, table),
        (filesystem.join(options.folder, "_rejects"), rejected),
    ):
        if rows.num_rows:
            sink = io.BytesIO()
            pq.write_table(rows, sink, compression="zstd")
            content = sink.getvalue()
            name = f"{filesystem.digest(content)[:32]}.parquet"
            filesystem.create_exclusively(filesystem.join(folder, name), content)
    return table.num_rows, rejected.num_rows


def _reason(message: Message, options: MessageOptions) -> str:
    """Return why a message is invalid; empty if it is valid."""
    for what, value, kind in (
        ("id", message.id, str),
        ("text", message.text, str | None),
        ("version", message.version, int),
    ):
        if not isinstance(value, kind):
            return f"{what} is {value!r}"
    unknown = sorted(set(message.metadata) - set(options.metadata.names))
    if unknown:
        return f"no metadata column {unknown[0]!r}; there are {options.metadata.names}"
    try:
        pa.Table.from_pylist([message.metadata], options.metadata)
        (message.id + (message.text or "")).encode()
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        return str(error).splitlines()[0]
    return ""


class _VersionFn(CheckedFn):
    """A function from messages to pairs of the shard's number and the message with a version."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self._shards = shards

    def process(
        self,
        element: Message,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[tuple[int, Message]]:
        version = timestamp.micros if element.version is None else element.version
        shard = zlib.crc32(repr(element.id).encode()) % self._shards
        yield shard, replace(element, version=version)


class _LandFn(CheckedFn):
    def __init__(self, options: MessageOptions) -> None:
        super().__init__()
        self._options = options

    def process(self, element: tuple[int, Iterable[Message]]) -> Iterator[int]:
        documents, rejected = land(element[1], self._options)
        Metrics.counter(METRICS, "messages").inc(documents)
        Metrics.counter(METRICS, "messages_rejected").inc(rejected)
        yield documents


class LandMessages(beam.PTransform):
    """Transform from any ``PCollection[Message]`` to files; yields the rows of each file.

    Windows and triggers of the messages are ignored: only time and number bound a file. So no
    message is too late.
    """

    def __init__(self, options: MessageOptions) -> None:
        super().__init__()
        self._options = options

    def expand(self, messages: beam.PCollection[Message]) -> beam.PCollection[int]:
        """Wire versions, batches and files."""
        options = self._options
        return (
            messages
            | "Window" >> beam.WindowInto(GlobalWindows())
            | "Version"
            >> beam.ParDo(_VersionFn(options.shards)).with_output_types(tuple[int, Message])
            | "Gather" >> beam.GroupIntoBatches(options.most, options.every)
            | "Land" >> beam.ParDo(_LandFn(options)).with_output_types(int)
        )
