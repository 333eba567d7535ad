"""Faults: kills, full disks, lost requests, old listings and damage; `make faults` tries longer."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.maintenance import compact, vacuum, verify
from pipeline.maintenance.options import CompactOptions, VacuumOptions
from tests.support.flaky import FlakyFileSystem
from tests.support.models import make_texts
from tests.support.raising import finds_damage, raises
from tests.support.stores import DIM, add_segment, found, live_ids, make_vectors, sign
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.snapshot import read_snapshot, snapshot_numbers
from transforms.errors import AlbeamError, Damaged
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.transactions.commits import roll_back
from transforms.transactions.removal import remove_documents

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_commands_leave_the_store_of_those_that_were_not(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kills", "--seed", "0", "--kills", "4", "--short"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "the same store as without" in done.stdout


@pytest.mark.slow
def test_commands_at_once_leave_each_document_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.writers", "--writers", "3", "--rounds", "2"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "each document as it was left, once" in done.stdout


@pytest.mark.slow
def test_words_of_all_scripts_are_found_in_each_spelling() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.words", "--words", "500", "--seed", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"ALBEAM_DATA": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3_000:]
    assert "english" in done.stdout


@pytest.fixture
def store(tmp_path: Path) -> str:
    store = str(tmp_path / "store")
    fill(store)
    return store


def fill(store: str) -> None:
    """Two segments, one of them with tombstones."""
    add_segment(store, "one", {f"a{n}": 2 for n in range(12)}, parts=3, seed=1, rejects=1)
    add_segment(store, "two", {f"b{n}": 1 for n in range(10)}, parts=2, seed=2)
    remove_documents(store, ["a1", "a5"])


class Disk:
    """A disk that is full from the n-th write on; a write ends with a sync, a link or a rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = sys.maxsize
        for name in ("fsync", "link", "replace"):
            monkeypatch.setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object, **options: object) -> None:
            if self.free <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.free -= 1
            real(*arguments, **options)

        return call


@pytest.mark.parametrize("command", ["compact", "delete", "rollback", "embed"])
def test_a_full_disk_is_an_error_that_says_so_and_the_next_run_goes_on(
    store: str, command: str, corpus: Path, albert: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = {
        "compact": ["compact", store],
        "delete": ["delete", store, "a2", "b2"],
        "rollback": ["rollback", store, "2"],
        "embed": ["embed", str(corpus), "--store", str(tmp_path / "new"), "--model", str(albert),
                  "--max-tokens", "48", "--rows-per-part", "100"],
    }[command]  # fmt: skip
    disk = Disk(monkeypatch)
    answers, snapshots, fulls = found(store), snapshot_numbers(store), 0
    # Each run gets a little further than the one before and keeps its work.
    for free in (0, 1, 2, 4, 8, 16, 40, 80):
        disk.free = free
        code = main(words)
        disk.free = sys.maxsize
        captured = capsys.readouterr()
        if not code:
            break
        fulls += 1
        assert code in (1, 2), captured.err
        assert "No space left on device" in captured.err
        if snapshot_numbers(store) == snapshots:
            assert found(store) == answers
        assert not [file for file in filesystem.list_files(str(tmp_path)) if ".tmp" in file.path]
    assert fulls >= 1
    assert code == 0
    if command != "embed":
        verify.run(store)
        assert snapshot_numbers(store)[-1] == snapshots[-1] + 1
        vacuum.run(store, VacuumOptions(keep=1, older_than=0))
    verify.run(store if command != "embed" else str(tmp_path / "new"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """A function that gives a mounted disk so many bytes; what is on it stays."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> int:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        return subprocess.run(words, capture_output=True, check=False).returncode

    if shutil.which("mount") is None or mount("size=4k"):
        pytest.skip("a disk can be mounted by root alone; the full disk above stands for it")
    try:
        yield lambda size: (mount(f"remount,size={size}") and "") or str(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("index", ["flat", "IVF2,SQ8"])
def test_a_real_disk_that_is_full_at_any_byte_is_an_error_and_no_loss(
    index: str, small_disk: Callable[[int], str], corpus: Path, albert: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    place = small_disk(16 << 10)
    monkeypatch.setattr("tempfile.tempdir", place)
    words = [
        "embed", str(corpus), "--store", f"{place}/store", "--model", str(albert),
        "--max-tokens", "48", "--rows-per-part", "100", "--index", index,
    ]  # fmt: skip
    size, fulls = 16 << 10, 0
    while main(words):
        captured = capsys.readouterr()
        assert "No space left on device" in captured.err, captured.err
        assert f"disk of {place}" in captured.err
        assert "Traceback" not in captured.err
        fulls += 1
        size += 28 << 10
        assert fulls < 60
        small_disk(size)
    assert fulls >= 4
    # A check of the store copies files next to it.
    small_disk(64 << 20)
    verify.run(f"{place}/store")
    assert main(["verify", f"{place}/store", "--deep"]) == 0
    fresh = [f"{place}/fresh" if word.endswith("/store") else word for word in words]
    assert main(fresh) == 0
    assert live_ids(f"{place}/store") == live_ids(f"{place}/fresh")


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FlakyFileSystem]]:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    FlakyFileSystem.arm(0)
    yield FlakyFileSystem
    FlakyFileSystem.arm(0)


@pytest.mark.parametrize("seed", range(2))
def test_lost_requests_lost_answers_stalls_and_old_listings_change_nothing(
    store: str, flaky: type[FlakyFileSystem], seed: int
) -> None:
    remote = "flaky://bucket/store"
    flaky.arm(seed, lost=0.08, late=0.08, stale=0.3, stalled=0.05)
    fill(remote)
    for place in (store, remote):
        remove_documents(place, ["b3", "a0"])
        compact.run(place, CompactOptions(rows_per_part=8))
        roll_back(place, 3)
        add_segment(place, "three", {f"c{n}": 1 for n in range(4)}, seed=3)
        compact.run(place)
    assert flaky.failed > 10
    assert flaky.stalled > 3
    assert flaky.stale > 0
    flaky.arm_only_healthy()
    assert live_ids(remote) == live_ids(store)
    assert found(remote, 40) == found(store, 40)
    verify.run(remote)
    vacuum.run(remote, VacuumOptions(keep=1, older_than=-60))
    assert vacuum.run(remote, VacuumOptions(keep=1, older_than=-60, dry_run=True)).files == 0
    assert found(remote, 40) == found(store, 40)


@pytest.mark.slow
def test_embedding_and_vacuum_over_a_flaky_network_lose_nothing(
    flaky: type[FlakyFileSystem], albert: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    texts = make_texts(24, seed=3, longest=60)
    for name, rows in {"first": texts[:16], "second": [*texts[4:12], *texts[16:]]}.items():
        ids = [f"d{texts.index(text)}" for text in rows]
        pq.write_table(pa.table({"id": ids, "text": rows}), tmp_path / f"{name}.parquet")
    remote, local = "flaky://bucket/store", str(tmp_path / "store")
    flaky.arm(5, lost=0.08, late=0.08, stale=0.6, stalled=0.02)
    for place in (remote, local):
        for name in ("first", "second"):
            words = ["--model", str(albert), "--max-tokens", "48", "--rows-per-part", "5"]
            words += ["--store", place, "--mode", "sync", "--dtype", "float32"]
            assert main(["embed", str(tmp_path / f"{name}.parquet"), *words]) == 0
        assert main(["delete", place, "d5", "d20"]) == 0
        assert main(["vacuum", place, "--older-than", "0"]) == 0
    capsys.readouterr()
    assert flaky.failed > 10
    assert flaky.stale > 0
    flaky.arm_only_healthy()
    assert sorted(live_ids(remote)) == sorted(live_ids(local))
    verify.run(remote)
    assert vacuum.run(remote, VacuumOptions(keep=1, older_than=-60)).snapshots == ()
    verify.run(remote)
    # Parts may have come in another order than on the local disk.
    ours, theirs = (
        [[(row[0], row[1], round(row[3], 4)) for row in line] for line in answers]
        for answers in (found_by(remote), found_by(local))
    )
    assert [sorted(line) for line in ours] == [sorted(line) for line in theirs]


def found_by(store: str) -> list[list]:
    """What a few seeded question vectors of the store's own width find."""
    opened = Store.open(store)
    vectors = make_vectors(6, seed=9, dim=opened.snapshot.identity.dim)
    hits = opened.search(vectors, 30)
    return [[(h.document_id, h.passage, h.text, h.score) for h in line] for line in hits]


def test_a_network_that_is_down_is_an_error_in_one_line(
    flaky: type[FlakyFileSystem], capsys: pytest.CaptureFixture[str]
) -> None:
    fill("flaky://bucket/store")
    flaky._lost = 1.0
    for words in (["compact"], ["delete"], ["verify"], ["snapshots"], ["vacuum"]):
        more = ["a2"] if words == ["delete"] else []
        assert main([*words, "flaky://bucket/store", *more]) == 1
        err = capsys.readouterr().err
        assert "got lost" in err
        assert err.count("\n") == 1
    flaky._lost = 0.0
    assert len(live_ids("flaky://bucket/store")) == 20


def tombstones(store: str) -> Path:
    [path] = Path(SegmentPaths(store, "one").tombstones).iterdir()
    return path


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "empty": lambda path: path.write_bytes(b""),
    "bit flipped": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + b"rest"),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_tombstones_are_an_error_everywhere_and_never_a_dead_document(
    store: str, damage: Callable[[Path], object]
) -> None:
    path = tombstones(store)
    damage(path)
    with finds_damage(store, path):
        verify.run(store)
    for use in (found, live_ids, compact.run):
        with raises(Damaged, "file", path):
            use(store)
    with raises(Damaged, "file", path):
        remove_documents(store, ["a3"])
    # The remedy that the message names.
    roll_back(store, 2)
    assert len(live_ids(store)) == 22
    verify.run(store)


def rewrite(store: str, change: Callable[[dict], None], number: int = 3) -> None:
    """Change how a snapshot describes its first segment, digest included."""
    path = Path(store, "snapshots", f"{number:08d}.json")
    value = json.loads(path.read_text())
    change(value["segments"][0])
    path.write_text(json.dumps(sign(value)))


def test_a_flipped_bit_in_a_snapshot_is_found_wherever_it_matters(store: str) -> None:
    path = Path(store, "snapshots", "00000003.json")
    whole = path.read_bytes()
    value = json.loads(whole)
    inside = whole.index(b'"identity"'), whole.index(b'"segments"')
    missed = 0
    for place in range(inside[0], len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            Store.open(store)
        except AlbeamError as error:
            assert str(path) in str(error) or "snapshot" in str(error)
        else:
            # A blank that became another one.
            missed += 1
            assert json.loads(path.read_bytes()) == value
    assert missed < 60
    # The remedy that the message names.
    path.write_bytes(whole.replace(b'"pooling": "mean"', b'"pooling": "cls"'))
    with raises(Damaged, "file", path) as caught:
        Store.open(store)
    assert "albeam rollback" in caught.value.remedy
    roll_back(store, 2)
    verify.run(store)


@pytest.mark.parametrize("name", ["../../../secret", "/etc/passwd", ".."])
def test_tombstones_outside_the_store_are_refused(store: str, name: str) -> None:
    rewrite(store, lambda value: value["tombstones"].update(name=name))
    for use in (verify.run, found, compact.run):
        with raises(Damaged, "file", Path(store, "snapshots", "00000003.json"), repr(name)):
            use(store)


@pytest.mark.parametrize("change", [{"passages": 1}, {"documents": 1}])
def test_counts_of_tombstones_that_are_not_true_are_found(store: str, change: dict) -> None:
    rewrite(store, lambda value: value["tombstones"].update(change))
    with finds_damage(store, "but the snapshot records"):
        verify.run(store)


def test_more_tombstones_than_rows_are_refused(store: str) -> None:
    rewrite(store, lambda value: value["tombstones"].update(passages=10**12))
    for use in (verify.run, found):
        with raises(Damaged, "file", Path(store, "snapshots", "00000003.json"), "more dead rows"):
            use(store)


@pytest.mark.parametrize("kind", ["Flat", "IVF4,Flat", "HNSW16"])
@pytest.mark.parametrize("value", [2**31 - 1, 2**40, 2**64 - 1])
def test_a_hostile_index_file_is_an_error_and_no_crash(
    tmp_path: Path, kind: str, value: int
) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 1 for n in range(40)}, index=kind)
    [path] = Path(SegmentPaths(store, "one").index).glob("shard-*")
    whole = path.read_bytes()
    code = (
        "import sys; from pathlib import Path\n"
        "from transforms.errors import AlbeamError\n"
        "from transforms.index.vector.faiss_files import read_index\n"
        "from transforms.index.vector.faiss_search import check_rows, search_index, searching\n"
        "import numpy as np\n"
        "path, kind, value = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])\n"
        "whole = path.read_bytes()\n"
        "for place in range(4, min(len(whole) - 8, 400), 4):\n"
        "    content = bytearray(whole)\n"
        "    content[place:place + 8] = value.to_bytes(8, 'little')\n"
        # A mapped file must not be cut short while it is mapped: each is a new one.
        "    made = path.with_name(f'{path.name}.{place}')\n"
        "    made.write_bytes(content)\n"
        "    try:\n"
        f"        index = read_index(made, kind, {DIM}, 40)\n"
        "        with searching(str(made)):\n"
        f"            found = search_index(index, np.ones((2, {DIM}), np.float32), 3)\n"
        "            check_rows(found[1], 40)\n"
        "    except AlbeamError: pass\n"
        "print('survived')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), kind, str(value)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "survived\n", (done.returncode, done.stderr[-2_000:])
    path.write_bytes(whole)
    assert found(store)[0]


@pytest.mark.parametrize("shift", [40, 4_000, -70])
def test_rows_that_an_index_can_not_have_are_an_error_and_no_other_documents(
    tmp_path: Path, shift: int
) -> None:
    import faiss

    store = str(tmp_path / "store")
    add_segment(store, "one", {f"a{n}": 1 for n in range(40)}, index="IVF4,Flat")
    paths = SegmentPaths(store, "one")
    [path] = Path(paths.index).glob("shard-*")
    faiss.set_deserialization_vector_byte_limit(1 << 40)
    index = faiss.read_index(str(path))
    for number in range(4):
        size = index.invlists.list_size(number)
        faiss.rev_swig_ptr(index.invlists.get_ids(number), size)[:] += shift
    faiss.write_index(index, str(path))
    manifest = Path(paths.manifest)
    value = json.loads(manifest.read_text())
    [shard] = value["index"]["shards"]
    shard["file"] |= {"sha256": filesystem.sha256(str(path)), "bytes": path.stat().st_size}
    manifest.write_text(json.dumps(value))

    def change(ref: dict) -> None:
        ref["sha256"] = filesystem.sha256(str(manifest))

    rewrite(store, change, 1)
    add_segment(store, "two", {f"b{n}": 1 for n in range(40)}, seed=2)
    with raises(Damaged, "index file", path, "40"):
        found(store, 3)


def test_what_is_wrong_is_albeams_own_error(store: str) -> None:
    Path(store, "snapshots", "00000003.json").write_bytes(b"{")
    with pytest.raises(Damaged) as caught:
        Store.open(store)
    assert isinstance(caught.value, AlbeamError)
    assert caught.value.value.endswith("00000003.json")
    assert read_snapshot(store, 2).number == 2
