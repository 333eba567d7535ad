"""Parquet files with random changes: no change may end the process, or lose rows without a word.

Run as ``python -m tests.faults.fuzz_inputs [--seed N] [--mutations N]``. Each mutation changes some
bytes of a footer, of page headers or of pages. The changed file is read as an input of ``embed``
and of ``watch``, as a file of questions, and as a part of a store. Each time it must give as many
rows as its footer says, or the error of that reader, which names the file. Children do the work, so
that the end of one is seen.
"""

import argparse
import io
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS, GROUP = 60, 20
#: The mutations of one child.
_BLOCK = 1_000
_SECONDS = 60
#: The most faults that are printed.
_SHOWN = 20
_MEMORY = 8 << 30


def table() -> pa.Table:
    """Rows with columns of many types."""
    numbers = range(ROWS)
    columns = {
        "id": [f"d{number}" for number in numbers],
        "text": [f"river stone number {number} flows" for number in numbers],
        "question": [f"where is stone {number}?" for number in numbers],
        "lang": pa.array(["en", "de", None] * (ROWS // 3)).dictionary_encode(),
        "year": pa.array(numbers, pa.int16()),
        "when": pa.array(numbers, pa.timestamp("us", "Europe/Berlin")),
        "day": pa.array(numbers, pa.date32()),
        "time": pa.array(numbers, pa.time64("ns")),
        "half": pa.array([0.5] * ROWS, pa.float16()),
        "price": pa.array([None] * ROWS, pa.decimal128(10, 2)),
        "key": pa.array([b"0123456789abcdef"] * ROWS, pa.uuid()),
        "tags": pa.array([["x", "y"], None, []] * (ROWS // 3), pa.list_(pa.string())),
        "map": pa.array([[("a", 1.5)]] * ROWS, pa.map_(pa.string(), pa.float64())),
        "more": pa.array([{"a": 1, "b": None}] * ROWS, pa.struct([("a", "i4"), ("b", "str")])),
        "pair": pa.array([[1, 2]] * ROWS, pa.list_(pa.int32(), 2)),
    }
    return pa.table(columns)


@cache
def sound_files() -> tuple[bytes, ...]:
    """The files that are changed: what several writers make of the rows."""
    rows = table()
    simple = rows.select(["id", "text", "question", "year"])
    encodings = {
        "id": "DELTA_BYTE_ARRAY", "text": "DELTA_LENGTH_BYTE_ARRAY", "year": "DELTA_BINARY_PACKED",
        "question": "PLAIN",
    }  # fmt: skip
    return (
        _written(rows),
        _written(rows, compression="none", use_dictionary=False, store_schema=False),
        _written(
            rows,
            compression="zstd",
            write_page_index=True,
            write_page_checksum=True,
            data_page_version="2.0",
        ),
        _written(rows, data_page_size=64, write_batch_size=5, use_deprecated_int96_timestamps=True),
        _written(simple, compression="gzip", use_dictionary=False, column_encoding=encodings),
        _written(simple, compression="lz4", bloom_filter_options={"id": True}),
        encrypted(simple, "year"),
    )


def _written(rows: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    try:
        pq.write_table(rows, sink, row_group_size=GROUP, **options)
    except TypeError:
        # An older pyarrow does not know one of the options.
        return _written(rows)
    return sink.getvalue()


def encrypted(rows: pa.Table, column: str) -> bytes:
    """A file of rows in which one column is encrypted; the footer is not."""
    import base64

    import pyarrow.parquet.encryption as pe

    class Keys(pe.KmsClient):
        def __init__(self, _: object) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, _: str) -> bytes:
            return base64.b64encode(key)

        def unwrap_key(self, key: bytes, _: str) -> bytes:
            return base64.b64decode(key)

    config = pe.EncryptionConfiguration(
        "footer", column_keys={"key": [column]}, plaintext_footer=True
    )
    properties = pe.CryptoFactory(Keys).file_encryption_properties(pe.KmsConnectionConfig(), config)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, rows.schema, encryption_properties=properties) as writer:
        writer.write_table(rows, row_group_size=GROUP)
    return sink.getvalue()


def mutated(seed: int, number: int) -> bytes:
    """A sound file with some bytes changed, removed or added."""
    chance = random.Random(f"{seed}-{number}")
    content = bytearray(chance.choice(sound_files()))
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    headers = [place for place in range(4, footer) if content[place : place + 2] == b"\x15\x00"]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        where = chance.random()
        if where < 0.5:
            place = chance.randrange(footer, len(content) - 8)
        elif where < 0.8 and headers:
            place = chance.choice(headers) + chance.randrange(12)
        else:
            place = chance.randrange(4, len(content))
        place = min(place, len(content) - 1)
        how = chance.random()
        if how < 0.5:
            content[place] ^= 1 << chance.randrange(8)
        elif how < 0.8:
            content[place] = chance.choice([0, 1, 2, 0x11, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        elif how < 0.9:
            del content[place]
        else:
            content.insert(place, chance.randrange(256))
    if chance.random() < 0.02:
        del content[chance.randrange(len(content)) :]
    return bytes(content)


def check_embed(path: Path, _: Path) -> str:
    """Read a file as ``embed`` does."""
    from transforms.catalog.options import ColumnOptions
    from transforms.errors import BadInput
    from transforms.ingest.partitioning import plan_parts
    from transforms.ingest.read_parts import read_part, read_slices
    from transforms.ingest.survey import slices_of, survey_input
    from transforms.storage.arrow_values import plain_rows
    from transforms.storage.input_files import list_inputs

    try:
        survey = survey_input(list_inputs((str(path),)), ColumnOptions(all_columns=True))
        found = list(read_slices(survey, *slices_of(survey)))
        plan = plan_parts(survey, 17, 1_000.0)
        parts = [t for part in plan.parts for t in read_part(plan, part)]
        for each in parts:
            plain_rows(each.select(survey.schema.names))
    except BadInput as error:
        if str(path) not in str(error) and "column" not in error.option:
            raise
        return "refused"
    _equal(sum(each.num_rows for each in found), survey.rows)
    _equal(sum(each.num_rows for each in parts), survey.rows)
    return "read"


def check_watch(path: Path, folder: Path) -> str:
    """Take a file as ``watch`` does, after a sound one."""
    from tests.support.stores import make_identity
    from transforms.catalog.options import ColumnOptions
    from transforms.index.options import IndexOptions
    from transforms.storage.input_files import list_inputs
    from transforms.streaming.file_intake import WatchOptions, survey_new_files

    options = WatchOptions(
        (str(folder),), str(folder / "store"), ColumnOptions(), make_identity(), "float32",
        IndexOptions(), 1_000.0, 1.0,
    )  # fmt: skip
    sound = folder / "a-sound.parquet"
    if not sound.exists():
        sound.write_bytes(sound_files()[0])
    survey, rejected = survey_new_files(options, list_inputs((str(sound), str(path))))
    assert survey is not None
    _equal(rejected.keys() <= {str(path)}, True)
    _equal(len(survey.files), 2 - len(rejected))
    return "refused" if rejected else "read"


def check_questions(path: Path, _: Path) -> str:
    """Read a file as questions of ``search`` and of ``search --output``."""
    from transforms.errors import BadInput
    from transforms.search.question_slices import plan_questions, read_slice
    from transforms.search.questions import read_questions

    try:
        asked = read_questions(str(path))
        pieces = [read_slice(piece)[1] for piece in plan_questions(str(path), 7)]
    except BadInput as error:
        if str(path) not in str(error):
            raise
        return "refused"
    _equal([question for piece in pieces for question in piece], asked)
    return "read"


def check_part(path: Path, _: Path) -> str:
    """Read a file as a part of a store."""
    from transforms.errors import Damaged
    from transforms.storage.parquet_files import open_parquet, reading

    try:
        with open_parquet(str(path)) as file, reading(str(path)):
            rows = file.metadata.num_rows
            _equal(file.read().num_rows, rows)
            groups = range(file.num_row_groups)
            _equal(sum(file.read_row_group(group).num_rows for group in groups), rows)
            _equal(sum(batch.num_rows for batch in file.iter_batches(7)), rows)
    except Damaged as error:
        if str(path) not in str(error):
            raise
        return "refused"
    return "read"


CHECKS: dict[str, Callable[[Path, Path], str]] = {
    "embed": check_embed,
    "watch": check_watch,
    "questions": check_questions,
    "part": check_part,
}


def _equal(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{found!r:.200} instead of {expected!r:.200}")


def work(seed: int, first: int, stop: int) -> None:
    """Check some mutations; print a line before each, and one for each fault or result."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pa.set_cpu_count(2)
    with tempfile.TemporaryDirectory(prefix="albeam-fuzz-") as name:
        folder = Path(name)
        for number in range(first, stop):
            print("start", number, flush=True)
            path = folder / f"b-{number}.parquet"
            path.write_bytes(mutated(seed, number))
            for check, run in CHECKS.items():
                signal.alarm(_SECONDS)
                try:
                    print("result", check, run(path, folder))
                except Exception:
                    lines = traceback.format_exc().strip().splitlines()
                    print("fault", number, check, " | ".join(lines[-5:]))
            signal.alarm(0)
            path.unlink()


def run(seed: int, first: int, stop: int) -> tuple[Counter[str], list[str]]:
    """Check mutations in children; return how often each reader read or refused, and faults."""
    results: Counter[str] = Counter()
    faults: list[str] = []
    while first < stop:
        last = min(first + _BLOCK, stop)
        child = subprocess.run(
            [
                sys.executable, "-m", "tests.faults.fuzz_inputs", "--seed", str(seed),
                "--child", str(first), str(last),
            ],
            capture_output=True, text=True, check=False, errors="replace",
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        began = first
        for line in child.stdout.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "start":
                began = int(rest)
            elif kind == "result":
                results[rest] += 1
            elif kind == "fault":
                faults.append(rest)
        if child.returncode:
            faults.append(f"{began} ended its process: {child.returncode} {child.stderr[-2_000:]}")
        first = began + 1 if child.returncode else last
    return results, faults


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work(options.seed, *options.child)
        return 0
    stop = options.first + options.mutations
    results, faults = run(options.seed, options.first, stop)
    for name, count in sorted(results.items()):
        print(f"{name}: {count:,}")
    for fault in faults[:_SHOWN]:
        print(f"FAULT of --seed {options.seed} in mutation {fault}", file=sys.stderr)
    print(f"{options.mutations:,} mutations, {len(faults)} faults")
    return 1 if faults or not results else 0


if __name__ == "__main__":
    sys.exit(main())
