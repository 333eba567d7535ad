"""Records of Kafka as messages, and a real topic read by Beam on Prism and Flink."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.kafka import ReadFromKafka

from pipeline.runners import flink
from pipeline.runners.launch import make_pipeline, pipeline_options, run_in_background
from tests.support.engines import flink_args, prism_args
from tests.support.kafka_broker import broker, reader, use_older_reader
from transforms.storage.input_files import list_inputs
from transforms.streaming.kafka import message_of
from transforms.streaming.messages import LandMessages, Message, MessageOptions

_SECONDS = 80.0


class Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    offset: int = 7


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(b"a", b'{"text": "x"}'), Message("a", "x", 7)),
        (
            Record("é".encode(), '{"text": "ü", "year": 2020, "tags": ["b"]}'.encode()),
            Message("é", "ü", 7, {"year": 2020, "tags": ["b"]}),
        ),
        (Record(b"a", b'{"text": ""}'), Message("a", "", 7)),
        (Record(b"a", None), Message("a", None, 7)),
    ],
)
def test_a_record_is_a_message(record: Record, message: Message) -> None:
    assert message_of(record) == message


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"plain words",
        b"\xff",
        b"null",
        b'"text"',
        b'["text"]',
        b'{"lang": "en"}',
        b'{"text": null}',
        b'{"text": 3}',
        b'{"text": "x", "note": "\\ud800"}',
        b"[" * 200_000,
        b'{"text": "x", "n": ' + b"9" * 5_000 + b"}",
    ],
)
def test_a_value_that_can_t_be_read_takes_no_document_away(value: bytes) -> None:
    # LandMessages refuses a text that is no string, with its reason.
    assert message_of(Record(b"a", value)) == Message("a", value, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [None, b"\xff"])
def test_a_key_that_can_t_be_read_stays_as_it_is(key: bytes | None) -> None:
    message = message_of(Record(key, b'{"text": "x"}'))
    assert message == Message(key, "x", 7)  # type: ignore[arg-type]


class _WriteFn(beam.DoFn):
    """Appends what comes to a file, a line each."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: Message, timestamp: Any = beam.DoFn.TimestampParam) -> None:
        row = [element.id, element.text, element.version, element.metadata, timestamp.micros]
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=repr) + "\n")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with broker(tmp_path_factory.mktemp("kafka") / "broker") as address:
        yield address
    flink.stop_servers()


@pytest.mark.engines
# A worker thread that the engine has let go of says so by an exception.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("engine", ["prism", "flink"])
def test_a_topic_is_read_as_it_is_written(
    engine: str, kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kafka import KafkaProducer
    from kafka.admin import KafkaAdminClient, NewTopic

    use_older_reader(monkeypatch)
    path = tmp_path / "messages.jsonl"
    path.touch()
    years = pa.schema([("year", pa.int32())])
    landing = MessageOptions(str(tmp_path / "store"), engine, years, every=1.0)
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        admin.create_topics([NewTopic(engine, 2, 1)])
    expected: list[list[Any]] = []

    def send(name: str, text: str | None, milliseconds: int) -> None:
        value = None if text is None else json.dumps({"text": text, "year": 2020}).encode()
        sent = producer.send(engine, value, name.encode(), timestamp_ms=milliseconds).get(30)
        metadata = {} if text is None else {"year": 2020}
        expected.append([name, text, sent.offset, metadata, milliseconds * 1000])

    def wait() -> None:
        deadline = time.monotonic() + _SECONDS
        while len(_rows(path)) < len(expected):
            assert time.monotonic() < deadline, (job.state, len(_rows(path)))
            time.sleep(0.2)
        assert sorted(_rows(path), key=repr) == sorted(expected, key=repr)

    if engine == "prism":
        args = prism_args()
    else:
        often = "--checkpointing-interval=1000"
        args = (*flink_args(monkeypatch), "--flink-master=[local]", often)
    with closing(KafkaProducer(bootstrap_servers=kafka)) as producer, reader(tmp_path) as service:
        for number in range(20):
            send(f"d{number}", f"text {number}", 1_000 + number)
        poison = producer.send(engine, b"no JSON", b"d5", timestamp_ms=3_000).get(30)
        expected.append(["d5", "b'no JSON'", poison.offset, {}, 3_000_000])
        pipeline = make_pipeline(engine, pipeline_options(engine, args, streaming=True))
        settings = {"bootstrap.servers": kafka, "auto.offset.reset": "earliest"}
        messages = (
            pipeline
            | ReadFromKafka(
                settings,
                [engine],
                timestamp_policy=ReadFromKafka.create_time_policy,
                with_metadata=True,
                expansion_service=service,
            )
            | "Decode" >> beam.Map(message_of).with_output_types(Message)
        )
        _ = messages | "Write" >> beam.ParDo(_WriteFn(str(path)))
        _ = messages | LandMessages(landing)
        with run_in_background(pipeline) as job:
            wait()
            # The job waits for more.
            send("d3", "a river", 5_000)
            send("d4", None, 5_001)
            wait()
            deadline = time.monotonic() + _SECONDS
            while not {("d3", "a river"), ("d4", None), ("d19", "text 19")} <= _landed(landing):
                assert time.monotonic() < deadline, (job.state, _landed(landing))
                time.sleep(0.2)
    [refused] = pq.read_table(Path(landing.folder) / "_rejects").to_pylist()
    assert refused["reason"] == "text is b'no JSON'"


def _landed(options: MessageOptions) -> set[tuple[str, str | None]]:
    tables = [pq.read_table(file.url) for file in list_inputs((options.folder,))]
    return {(row["id"], row["text"]) for table in tables for row in table.to_pylist()}


def _rows(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
