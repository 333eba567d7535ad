"""Messages of a stream become files of a folder that a store watches.

A message brings a document, or takes one away. Messages are gathered for some seconds, the newest
of each document is kept, and what is left becomes a Parquet file under ``messages/<name>/`` in the
store, which is named after its content: a batch that a runner tries again writes the same file.
From there on they are files like others, see `WatchFiles`; versions decide which message counts
(`versions`), so late, double and disordered ones do no harm.
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
from transforms.errors import BadInput
from transforms.runtime.version import check_version, installed_version
from transforms.storage import filesystem
from transforms.storage.schema import METRICS, RESERVED
from transforms.streaming.message_versions import VERSION

_ID, _TEXT = "id", "text"
_REFUSED = pa.schema([("message", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Message:
    """What a stream says of a document.

    Attributes:
        id: the document's.
        text: its text; None takes the document away.
        version: of one id the greatest counts; None is the element's timestamp in microseconds.
        metadata: values of the metadata columns, by name; what is not named is null.
    """

    id: str
    text: str | None
    version: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MessageOptions:
    """How a stream is gathered.

    Attributes:
        store: the store's URL.
        name: of the stream, a plain file name; a stream that is started again under its name goes
            on where it was.
        metadata: names and types of the metadata columns.
        every: seconds for which messages are gathered at most.
        most: messages of a file at most.
        shards: how many files are gathered at once, each on a worker of its own.
    """

    store: str
    name: str
    metadata: pa.Schema = field(default_factory=lambda: pa.schema([]))
    every: float = 10.0
    most: int = 10_000
    shards: int = 1

    @property
    def folder(self) -> str:
        """Where the stream's files lie until their rows are in the store."""
        return filesystem.join(self.store, "messages", self.name)

    @property
    def columns(self) -> ColumnOptions:
        """What the columns of the files hold."""
        return ColumnOptions(_ID, _TEXT, tuple((name, name) for name in self.metadata.names))

    @property
    def schema(self) -> pa.Schema:
        """Of the files."""
        known = pa.schema([(_ID, pa.string()), (_TEXT, pa.string()), (VERSION, pa.int64())])
        return pa.unify_schemas([known, self.metadata])


def check_message_options(options: MessageOptions) -> None:
    """Raise BadInput where options can't work."""
    check_name(options.name)
    taken = sorted((RESERVED | {_ID, VERSION}) & set(options.metadata.names))
    if taken:
        raise BadInput(f"metadata column {taken[0]!r} has a name that is taken; rename it")
    for name, value in (
        ("every", options.every), ("most", options.most), ("shards", options.shards)
    ):  # fmt: skip
        if value <= 0:
            raise BadInput(f"{name} is {value}; give more than 0")


def sort_out(messages: Iterable[Message], options: MessageOptions) -> tuple[pa.Table, pa.Table]:
    """The newest message of each document, ordered by id, and those that can't be taken.

    Returns:
        A table of ``options.schema``, and one of ``message`` (as JSON) and ``reason``.
    """
    newest: dict[str, dict[str, Any]] = {}
    refused: list[dict[str, str]] = []
    for message in messages:
        reason = _reason(message, options)
        if reason:
            content = json.dumps(asdict(message), sort_keys=True, default=repr)
            refused.append({"message": content, "reason": reason})
        elif message.id not in newest or message.version >= newest[message.id][VERSION]:
            known = {_ID: message.id, _TEXT: message.text, VERSION: message.version}
            newest[message.id] = message.metadata | known
    table = pa.Table.from_pylist([newest[name] for name in sorted(newest)], options.schema)
    return table, pa.Table.from_pylist(refused, _REFUSED)


def land(messages: Iterable[Message], options: MessageOptions) -> tuple[int, int]:
    """Write messages to the stream's folder, and those that can't be taken below ``_rejects``.

    Returns:
        How many documents and how many refused messages the files hold.
    """
    table, refused = sort_out(messages, options)
    for folder, rows in (
        (options.folder, table),
        (filesystem.join(options.folder, "_rejects"), refused),
    ):
        if rows.num_rows:
            sink = io.BytesIO()
            pq.write_table(rows, sink, compression="zstd")
            content = sink.getvalue()
            name = f"{filesystem.digest(content)[:32]}.parquet"
            filesystem.create_exclusively(filesystem.join(folder, name), content)
    return table.num_rows, refused.num_rows


def _reason(message: Message, options: MessageOptions) -> str:
    """Why a message can't be taken; empty where it can."""
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


class _VersionFn(beam.DoFn):
    """Messages with a version, under the number of their shard."""

    def __init__(self, shards: int) -> None:
        self._shards = shards

    def process(
        self,
        element: Message,
        timestamp: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[tuple[int, Message]]:
        version = timestamp.micros if element.version is None else element.version
        shard = zlib.crc32(repr(element.id).encode()) % self._shards
        yield shard, replace(element, version=version)


class _LandFn(beam.DoFn):
    def __init__(self, options: MessageOptions) -> None:
        self._options = options
        self._version = installed_version()

    def setup(self) -> None:
        check_version(self._version)

    def process(self, element: tuple[int, Iterable[Message]]) -> Iterator[int]:
        taken, refused = land(element[1], self._options)
        Metrics.counter(METRICS, "messages").inc(taken)
        Metrics.counter(METRICS, "messages_rejected").inc(refused)
        yield taken


class LandMessages(beam.PTransform):
    """A ``PCollection[Message]``, bounded or not, to files; gives the number of rows of each.

    The windows and triggers that messages come with are given up: what is gathered is bounded by
    time and number alone, so no message is too late.
    """

    def __init__(self, options: MessageOptions) -> None:
        super().__init__()
        check_message_options(options)
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
