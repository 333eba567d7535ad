"""The light install: what ``pip install '.[search]'`` brings can ask a store, and is small."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.installs import install, run
from tests.test_wheel import wheel

__all__ = ["wheel"]

pytestmark = pytest.mark.slow

#: What the environment may take, in bytes.
_MOST_BYTES = 700_000_000
#: Libraries that are for embedding alone.
_HEAVY = ("torch", "transformers", "apache_beam", "sentencepiece")
_FIND = "import sys; from importlib.util import find_spec; print(*map(find_spec, sys.argv[1:]))"
#: Prints the largest memory of a command, in bytes, and the processor time that it took.
_MEASURE = """\
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_maxrss * 1024, used.ru_utime + used.ru_stime]))
"""


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment that uv installed the extra ``search`` into."""
    return install(wheel, "search", tmp_path_factory.mktemp("light") / "environment", compiled=True)


def test_it_is_small(programs: Path) -> None:
    found = run(str(programs / "python"), "-c", _FIND, *_HEAVY).split()
    assert found == ["None"] * len(_HEAVY)
    files = [path for path in programs.parent.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files if not path.is_symlink())
    assert 100_000_000 < size < _MOST_BYTES


def test_it_asks_and_checks_a_store(programs: Path, embedded_store: Path, tmp_path: Path) -> None:
    albeam, store = str(programs / "albeam"), tmp_path / "store"
    shutil.copytree(embedded_store, store)
    hits = json.loads(run(albeam, "search", str(store), "river stone", "--json"))
    assert len(hits) == 10
    assert "sound" in run(albeam, "verify", str(store))
    assert "embed" in run(albeam, "snapshots", str(store))
    asked = "from transforms import Store; print(len(Store.open({!r}).search(['river'])[0]))"
    assert run(str(programs / "python"), "-c", asked.format(str(store))).strip() == "10"


def test_what_it_lacks_is_named_with_its_extra(programs: Path, corpus: Path) -> None:
    message = run(str(programs / "albeam"), "embed", str(corpus), "--store", "x", code=2)
    assert message == "albeam: embed needs Apache Beam: pip install 'albeam[cpu]'\n"


def test_a_first_answer_takes_little_time_and_memory(
    programs: Path, tmp_path: Path, trained_model: str, corpus: Path
) -> None:
    from pipeline.ingest.embed import run as embed
    from tests.support.options import embed_options

    store = tmp_path / "store"
    embed(embed_options(store, trained_model, corpus))
    asked = [str(programs / "albeam"), "search", str(store), "How do I read a CSV file?"]
    found = [json.loads(run(sys.executable, "-c", _MEASURE, *asked)) for _ in range(3)]
    memory, seconds = map(min, zip(*found, strict=True))
    assert memory < 400_000_000
    # Processor time, since other processes may keep the processor busy.
    assert seconds < 1.5
