"""Each function that decodes a file that someone else may have made, with changed content.

Run as ``python -m tests.faults.fuzz_decoders [--seed N] [--count N] [--only N]``. A decoder returns
what it read, or raises an error that names the file. With ``--guided SECONDS`` atheris chooses the
content by the code that it reaches; ``pip install atheris`` has it for Linux.
"""

import argparse
import atexit
import contextlib
import inspect
import json
import random
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import faiss
from pyroaring import BitMap64
from safetensors.numpy import save
from tokenizers import Tokenizer

from tests.faults.fuzz_harness import CHANGED, SAME, Fuzzer, command, in_child, mutate_bytes
from tests.faults.fuzz_stores import change_value, seal_again
from tests.support.models import make_model
from tests.support.stores import DIM, make_identity, make_segment, make_vectors
from transforms.catalog.manifest_json import decode
from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Part, Plan, Slice
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.catalog.snapshot import SegmentRef, Snapshot
from transforms.catalog.tombstones import TombstoneRef, read_rows
from transforms.errors import AlbeamError
from transforms.index.vector.faiss_files import check_index
from transforms.models.model_files import refusing
from transforms.models.tokenizer_checks import check_growth, check_tokenizer_files
from transforms.models.weights import read_header
from transforms.storage import filesystem
from transforms.storage.checksummed_json import seal, unseal
from transforms.streaming.journal_entries import Entry
from transforms.transactions.change_set import EMPTY, ChangeSet

_ROWS = 60
_FACTORIES = ("Flat", "HNSW4", "IVF4,SQ8", "IVF4,PQ4x4fsr")
_FILE = filesystem.FileInfo("in/a.parquet", 5, "mtime=1")


def _sealed(content: bytes) -> bytes:
    """Return an object with the digest of its content, as someone who forges a file would."""
    with contextlib.suppress(ValueError, RecursionError, TypeError):
        value = json.loads(content)
        if isinstance(value, dict):
            return json.dumps(seal_again(value)).encode()
    return content


def _rows(path: Path) -> Any:
    content = path.read_bytes()
    ref = TombstoneRef(path.name, filesystem.digest(content), 3, 1)
    return read_rows(str(path.parent), ref, _ROWS)


def _header(path: Path) -> Any:
    shutil.copy(path, path.with_name("model.safetensors"))
    return read_header(str(path.parent), "model.safetensors", "a-model")


def _tokenizer(path: Path) -> Any:
    with refusing("a-model", "has a tokenizer that can't be used"):
        check_growth(Tokenizer.from_buffer(path.read_bytes()), "a-model")


def _config(path: Path) -> Any:
    shutil.copy(path, path.with_name("tokenizer_config.json"))
    check_tokenizer_files(str(path.parent), "a-model")


def _json(kind: Any, digest: bool = False) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        content = path.read_bytes()
        content = _sealed(content) if digest else content
        if hasattr(kind, "from_json"):
            return kind.from_json(content, str(path))
        if digest:
            content = json.dumps(unseal(content, str(path))).encode()
        return decode(content, kind, str(path))

    return read


#: What reads each kind of content.
DECODERS: dict[str, Callable[[Path], Any]] = {
    "snapshot": _json(Snapshot),
    "segment": _json(SegmentInfo),
    "plan": _json(Plan, digest=True),
    "changes": _json(ChangeSet, digest=True),
    "marker": _json(PartInfo, digest=True),
    "entry": _json(Entry),
    "rows": _rows,
    "header": _header,
    "tokenizer": _tokenizer,
    "config": _config,
    **{
        factory: lambda path, factory=factory: check_index(path, factory, DIM, _ROWS)
        for factory in _FACTORIES
    },
}


@cache
def sound() -> dict[str, bytes]:
    """Return sound content of each kind."""
    return dict(in_child(_make))


def _make() -> dict[str, bytes]:
    segment = make_segment(inputs=(_FILE,))
    ref = SegmentRef("s", "a" * 64, 5, 10, {"empty text": 2}, TombstoneRef("t", "b" * 64, 2, 1))
    snapshot = Snapshot(1, "now", "embed", "c" * 64, make_identity(), (ref,), weight=0.5)
    parts = (Part(0, (Slice(0, 0, 0, 5, 0),)),)
    made = {
        "snapshot": snapshot.to_json(),
        "segment": segment.to_json(),
        "plan": Plan((_FILE,), ColumnOptions(), segment.metadata, parts).to_json(),
        "changes": EMPTY.to_json(),
        "marker": seal(segment.parts[0].to_dict()),
        "entry": Entry(1, "s", 1, (_FILE,), {}, 0.5).to_json(),
        "rows": BitMap64([1, 2, 50]).serialize(),
        "header": save({"a": make_vectors(3), "b": make_vectors(2)[:, 0].copy()}),
        "config": b'{"tokenizer_class": "AlbertTokenizer", "fast_tokenizer_files": ["a.json"]}',
    }
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model")
        made["tokenizer"] = (Path(folder) / "model" / "tokenizer.json").read_bytes()
    faiss.omp_set_num_threads(1)
    for factory in _FACTORIES:
        index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(make_vectors(_ROWS))
        index.add(make_vectors(_ROWS))
        made[factory] = faiss.serialize_index(index).tobytes()
    return made


def change(chosen: random.Random, work: Path, outside: Path) -> str:
    """Write changed content of one kind."""
    kind = chosen.choice(list(DECODERS))
    content, notes = sound()[kind], []
    for _ in range(chosen.choice((1, 1, 2, 4))):
        if content[:1] == b"{" and chosen.random() < 0.6:
            with contextlib.suppress(ValueError):
                value = json.loads(content)
                notes.append(change_value(chosen, value, [str(outside / "precious")]))
                content = json.dumps(value).encode()
        else:
            content, what = mutate_bytes(chosen, content)
            notes.append(what)
    folder = work / str(list(DECODERS).index(kind))
    folder.mkdir()
    (folder / "content").write_bytes(content)
    return f"{kind}: {', '.join(notes)}"


def use(work: Path, _: str) -> str:
    """Decode the content."""
    [folder] = work.iterdir()
    kind = list(DECODERS)[int(folder.name)]
    path = folder / "content"
    same = path.read_bytes() == sound()[kind]
    DECODERS[kind](path)
    return SAME if same else CHANGED


def fuzzer() -> Fuzzer:
    """Return the fuzzer of decoders."""
    sound()
    faiss.omp_set_num_threads(1)
    return Fuzzer("decoders", change, use, memory=1 << 30)


def guided(seconds: int) -> None:
    """Let atheris choose the content, by what code it reaches; end the process."""
    import atheris

    folder = Path(tempfile.mkdtemp(prefix="albeam-fuzz-decoders-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for module in [each for name, each in sys.modules.items() if name.startswith("transforms.")]:
        for each in vars(module).values():
            if isinstance(each, types.FunctionType) and inspect.getmodule(each) is module:
                atheris.instrument_func(each)
    kinds = list(DECODERS)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, kind in enumerate(kinds):
        (corpus / f"{number}").write_bytes(bytes([number]) + sound()[kind])
    path = folder / "content"

    def attempt(data: bytes) -> None:
        if data:
            path.write_bytes(data[1:])
            with contextlib.suppress(AlbeamError):
                DECODERS[kinds[data[0] % len(kinds)]](path)

    options = (f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096")
    found = f"-artifact_prefix={tempfile.gettempdir()}/albeam-fuzz-"
    atheris.Setup([sys.argv[0], *options, "-verbosity=0", found, str(corpus)], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--guided", type=int, help="seconds that atheris has")
    given, others = parser.parse_known_args()
    if given.guided:
        guided(given.guided)
    else:
        sys.argv[1:] = others
        command([fuzzer], __doc__)
