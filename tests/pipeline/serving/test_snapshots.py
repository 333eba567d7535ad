"""A service follows its store: new snapshots, damaged ones, and the release of old ones."""

import asyncio
import gc
import re
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ingest.embed import run as embed
from pipeline.serving.core.models import Models
from pipeline.serving.core.requests import SearchRequest
from pipeline.serving.core.service import Service
from pipeline.serving.core.snapshots import Snapshots
from pipeline.serving.options import Limits, ServeOptions
from tests.pipeline.serving.conftest import write_tenants
from tests.support.damage import flip_bit
from tests.support.models import make_texts
from tests.support.options import embed_options
from transforms.errors import Damaged
from transforms.models.options import Placement
from transforms.search.store import Store
from transforms.transactions.commits import roll_back
from transforms.transactions.removal import remove_documents


@pytest.fixture
def url(tenants: Path, tmp_path: Path) -> str:
    shutil.copytree(tenants, tmp_path / "store")
    return str(tmp_path / "store")


@pytest.fixture
def service(url: str) -> Iterator[Service]:
    store = Store.open(url, device="cpu", dtype="float32")
    made = Service({"main": store}, Models(), Limits())
    yield made
    made.close()


def snapshots_of(service: Service) -> Snapshots:
    return service.store(None).snapshots


def add(url: str, albert: Path, folder: Path, first: int = 100) -> None:
    corpus = write_tenants(folder / f"more-{first}", make_texts(9, seed=first), first)
    embed(embed_options(url, albert, corpus, mode="append"))


def test_a_new_snapshot_is_taken_between_two_requests(
    service: Service, url: str, albert: Path, tmp_path: Path
) -> None:
    snapshots = snapshots_of(service)
    assert snapshots.follow() is False
    before = snapshots.current
    encoder = before.store.encoder
    add(url, albert, tmp_path)

    async def run() -> None:
        request = SearchRequest(("river",), 80, mode="dense")
        first = asyncio.create_task(service.search(request))
        for _ in range(3):
            await asyncio.sleep(0)
        assert snapshots.follow() is True
        assert [(await first).snapshot, (await service.search(request)).snapshot] == [1, 2]
        assert len((await first).results[0].hits) == 60
        assert len((await service.search(request)).results[0].hits) == 69
        older = SearchRequest(("river",), 80, mode="dense", snapshot=1)
        assert len((await service.search(older)).results[0].hits) == 60

    asyncio.run(run())
    assert (snapshots.swaps, snapshots.refused) == (1, 0)
    assert snapshots.current.store.encoder is encoder
    assert snapshots.current.store.dense.index(0) is before.store.dense.index(0)


def test_an_old_snapshot_is_released_when_its_last_request_ends(url: str) -> None:
    released: list[int] = []
    snapshots = Snapshots(Store.open(url, device="cpu", dtype="float32"), released.append)
    held = snapshots.current
    reader = weakref.ref(held.store.ranker)
    remove_documents(url, ["doc-001"])
    assert snapshots.follow() is True
    gc.collect()
    assert released == []
    assert reader() is not None
    del held
    assert released == [1]
    assert snapshots.follow() is False
    assert reader() is None


def test_a_damaged_snapshot_is_refused_and_counted_once(
    service: Service,
    url: str,
    albert: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    snapshots = snapshots_of(service)
    known = set(Path(url).rglob("*"))
    add(url, albert, tmp_path)
    kinds = ("segment.json", "*.faiss", "part-*.parquet")
    found = {kind: [p for p in Path(url).rglob(kind) if p not in known] for kind in kinds}
    assert found["segment.json"]
    assert found["part-*.parquet"]
    refused = 0
    for [*paths] in found.values():
        for path in paths:
            content = path.read_bytes()
            flip_bit(path, 0.999 if path.suffix == ".parquet" else 0.5)
            refused += 1
            for _ in range(2):
                assert snapshots.follow() is False
            assert (snapshots.refused, snapshots.current.number) == (refused, 1)
            hits = asyncio.run(service.search(SearchRequest(("river",), 80))).results[0].hits
            assert len(hits) == 60
            path.write_bytes(content)
    assert len([r for r in caplog.records if "not used" in r.message]) == refused
    assert snapshots.follow() is True
    # A service does not start on a damaged store.
    roll_back(url, 1)
    for path in Path(url).glob("segments/*/segment.json"):
        flip_bit(path)
    with pytest.raises(Damaged):
        Store.open(url)


def test_a_snapshot_with_a_wrong_digest_of_a_manifest_is_refused(
    service: Service, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The manifest itself is intact."""
    snapshots = snapshots_of(service)
    remove_documents(url, ["doc-001"])
    [newest] = Path(url, "snapshots").glob("*2.json")
    text = newest.read_text(encoding="utf-8")
    changed = re.sub(r'("sha256": ")\w{8}', r"\g<1>00000000", text)
    assert changed != text
    newest.write_text(changed, encoding="utf-8")
    for _ in range(2):
        assert snapshots.follow() is False
    assert (snapshots.refused, snapshots.swaps, snapshots.current.number) == (1, 0, 1)
    assert len([r for r in caplog.records if "not used" in r.message]) == 1
    assert len(asyncio.run(service.search(SearchRequest(("river",), 80))).results[0].hits) == 60
    newest.write_text(text, encoding="utf-8")
    assert snapshots.follow() is True
    assert len(asyncio.run(service.search(SearchRequest(("river",), 80))).results[0].hits) == 59


@pytest.mark.parametrize("what", ["snapshot", "*.faiss"])
def test_a_process_in_the_place_of_a_dead_one_opens_what_the_others_serve(
    url: str, albert: Path, tmp_path: Path, what: str
) -> None:
    known = set(Path(url).rglob("*"))
    add(url, albert, tmp_path)
    kept = {}
    for path in Path(url).rglob("*2.json" if what == "snapshot" else what):
        if path not in known:
            kept[path] = path.read_bytes()
            flip_bit(path)
    assert kept
    options = ServeOptions({"main": url}, workers=2, follow=1.0, placement=Placement("cpu"))
    replacing = Service.open(options)
    snapshots = snapshots_of(replacing)
    assert snapshots.current.number == 1
    assert snapshots.follow() is False
    assert snapshots.refused == 1
    for path, content in kept.items():
        path.write_bytes(content)
    assert snapshots.follow() is True
    assert snapshots.current.number == 2
    replacing.close()
    # Nothing is found in a store all of whose snapshots are damaged.
    for path in Path(url).glob("segments/*/segment.json"):
        flip_bit(path)
    with pytest.raises(Damaged):
        Service.open(options)


def test_a_store_that_goes_away_is_served_on(service: Service, url: str) -> None:
    snapshots = snapshots_of(service)
    shutil.move(f"{url}/snapshots", f"{url}/elsewhere")
    assert snapshots.follow() is False
    shutil.move(f"{url}/elsewhere", f"{url}/snapshots")
    assert snapshots.follow() is False
    assert snapshots.current.number == 1


def test_few_older_snapshots_stay_open(service: Service, url: str) -> None:
    for name in ("doc-001", "doc-002", "doc-004", "doc-005"):
        remove_documents(url, [name])
    snapshots = snapshots_of(service)
    assert snapshots.follow() is True
    first = snapshots.at(2)
    assert snapshots.at(2) is first
    assert snapshots.at(5) is snapshots.current
    for number in (3, 4):
        assert snapshots.at(number).number == number
    assert snapshots.at(2) is not first
