"""The lexical index in a store: built, kept, checked, compacted, added to an older store."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import compact, index, vacuum, verify
from pipeline.maintenance.options import IndexCommandOptions, VacuumOptions
from tests.support.models import make_texts, write_corpus
from tests.support.raising import finds_damage, raises
from tests.support.stores import add_segment
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.manifest_json import decode
from transforms.catalog.segment import SegmentInfo
from transforms.catalog.snapshot import Snapshot, read_segment, read_snapshot
from transforms.errors import BadInput, Damaged
from transforms.index.lexical import build
from transforms.index.lexical.build import build_lexical, choose_language
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.index.shard_layout import plan_lexical
from transforms.models.options import ModelOptions
from transforms.search.store import Store
from transforms.transactions.commits import roll_back
from transforms.transactions.removal import remove_documents

QUESTIONS = ["river stone", "window", "music in the garden", "12"]
TEXTS = list(dict.fromkeys(make_texts(60, seed=5, longest=8)))


def make_store(root: Path, language: str | None = "english") -> str:
    store = str(root / "store")
    for number in range(2):
        mine = dict.fromkeys(TEXTS[number::2], 1)
        add_segment(store, f"s{number}", mine, parts=3, seed=number, language=language)
    return store


def answers(store: str, snapshot: int | None = None) -> list:
    hits = Store.open(store, snapshot).search(QUESTIONS, 5, "lexical")
    return [[(hit.document_id, round(hit.score, 4)) for hit in line] for line in hits]


def lexical_files(store: str) -> list[Path]:
    return sorted(Path(store).glob("segments/*/lexical/*"))


def test_shards_are_of_whole_parts_and_of_so_much_text(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    [info, _] = [read_segment(store, ref) for ref in read_snapshot(store).segments]
    sizes = [part.text_bytes for part in info.parts]
    shards = plan_lexical(info.parts, sizes[0] + sizes[1])
    assert [len(shard.parts) for shard in shards] == [2, 1]
    assert [shard.first_row for shard in shards] == [0, info.parts[0].rows + info.parts[1].rows]
    assert len(plan_lexical(info.parts, 1)) == 3
    assert plan_lexical(()) == ()


def test_many_shards_answer_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path)
    expected = answers(store)
    monkeypatch.setattr(plan_lexical, "__defaults__", (1,))
    assert (
        index.run(store, IndexCommandOptions(None, LexicalOptions("auto", "english"))).snapshot == 2
    )
    other = make_store(tmp_path / "other")
    assert len(lexical_files(other)) > len(lexical_files(store))
    assert answers(other) == expected


def test_the_language_is_that_of_the_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, "german")
    infos = [read_segment(store, ref) for ref in read_snapshot(store).segments]
    assert choose_language(LexicalOptions(), infos) == "german"
    assert choose_language(LexicalOptions("none"), infos) is None
    assert choose_language(LexicalOptions(), []) == "english"
    assert choose_language(LexicalOptions("auto", "none"), []) == "none"
    with pytest.raises(BadInput) as caught:
        choose_language(LexicalOptions("auto", "english"), infos)
    assert (caught.value.option, caught.value.value) == ("language", "english")
    assert "albeam index STORE --lexical auto --language english" in caught.value.remedy


def test_compaction_builds_it_anew_without_dead_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    remove_documents(store, TEXTS[:20])
    before = answers(store)
    assert not {name for line in before for name, _ in line} & set(TEXTS[:20])
    compact.run(store)
    [ref] = read_snapshot(store).segments
    lexical = read_segment(store, ref).lexical
    assert lexical is not None
    assert (lexical.language, lexical.rows) == ("english", len(TEXTS) - 20)
    # The statistics are those of what lives now: as if the rest had been alone from the start.
    fresh = str(tmp_path / "fresh")
    add_segment(fresh, "all", dict.fromkeys(TEXTS[20:], 1), language="english")
    assert sorted(map(sorted, answers(store))) == sorted(map(sorted, answers(fresh)))


def test_compaction_leaves_a_store_without_one_without_one(tmp_path: Path) -> None:
    store = make_store(tmp_path, None)
    compact.run(store)
    assert lexical_files(store) == []


def test_vacuum_takes_what_nothing_needs_and_nothing_else(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    expected = answers(store)
    orphan = lexical_files(store)[0].with_name("shard-00000-0123456789abcdef.idx")
    orphan.write_bytes(b"left by a killed worker")
    for path in Path(store).rglob("*"):
        os.utime(path, (1, 1))
    assert vacuum.run(store, VacuumOptions(1, 0.0)).files >= 1
    assert not orphan.exists()
    assert answers(store) == expected
    assert verify.run(store).passages == len(TEXTS)


def test_verify_counts_the_files_and_finds_each_damage(tmp_path: Path) -> None:
    without = verify.run(make_store(tmp_path / "without", None))
    store = make_store(tmp_path)
    files = lexical_files(store)
    assert verify.run(store).files == without.files + len(files)
    for path in files[:6]:
        content = path.read_bytes()
        for damage in (content[:-1], bytes([content[0] ^ 1]) + content[1:], None):
            path.unlink()
            if damage is not None:
                path.write_bytes(damage)
            with finds_damage(store, path):
                verify.run(store)
            with raises(Damaged, "file", path) as caught:
                answers(store)
            assert "--lexical auto" in caught.value.remedy
        path.write_bytes(content)
    verify.run(store)


def test_index_repairs_what_is_damaged(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    expected = answers(store)
    lexical_files(store)[2].write_bytes(b"")
    index.run(store, IndexCommandOptions(None, LexicalOptions()))
    verify.run(store)
    assert answers(store) == expected


def test_an_older_store_gets_one_without_the_model(tmp_path: Path) -> None:
    expected = answers(make_store(tmp_path / "with"))
    store = make_store(tmp_path, None)
    before = read_snapshot(store)
    done = index.run(store, IndexCommandOptions(None, LexicalOptions()))
    assert (done.snapshot, done.lexical) == (before.number + 1, "english")
    assert answers(store) == expected
    assert Store.open(store).mode() == "hybrid"
    # Once more there is nothing to do; the FAISS indexes are as they were.
    assert index.run(store, IndexCommandOptions(None, LexicalOptions())).snapshot == done.snapshot
    assert [ref.index for ref in read_snapshot(store).segments] == [None, None]
    # The snapshot before has none, and comes back so.
    assert Store.open(store, before.number).mode() == "dense"
    roll_back(store, before.number)
    assert Store.open(store).mode() == "dense"
    # Another language, with another index of the vectors.
    options = IndexOptions("HNSW8", 0.1)
    both = index.run(store, IndexCommandOptions(options, LexicalOptions("auto", "none")))
    assert (both.lexical, set(both.factories.values())) == ("none", {"HNSW8"})
    verify.run(store)
    for path in Path(store).rglob("*"):
        os.utime(path, (1, 1))
    vacuum.run(store, VacuumOptions(1, 0.0))
    verify.run(store)
    with pytest.raises(BadInput) as caught:
        index.run(store, IndexCommandOptions(None, LexicalOptions("none")))
    assert (caught.value.option, caught.value.value) == ("lexical", "none")


def test_manifests_of_an_earlier_albeam_are_read(tmp_path: Path) -> None:
    store = make_store(tmp_path, None)
    snapshot = read_snapshot(store)
    value = json.loads(snapshot.to_json())
    # What is new is not there where it is not used, so that digests are what they were.
    assert "weight" not in value
    assert all("lexical" not in ref for ref in value["segments"])
    assert Snapshot.from_json(snapshot.to_json(), "it") == snapshot
    info = read_segment(store, snapshot.segments[0])
    old = json.loads(info.to_json())
    del old["lexical"]
    assert SegmentInfo.from_json(json.dumps(old).encode(), "it") == info


def test_a_manifest_that_leaves_the_store_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    info = read_segment(store, read_snapshot(store).segments[0])
    assert info.lexical is not None
    value = json.loads(info.to_json())
    value["lexical"]["shards"][0]["pieces"][0]["files"][0]["name"] = "../../x.idx"
    with raises(Damaged, "file", "it", "../../x.idx"):
        SegmentInfo.from_json(json.dumps(value).encode(), "it")
    strange = info.lexical.to_json().replace(b'"english"', b'"klingon"')
    with raises(Damaged, "file", "it", "klingon"):
        decode(strange, LexicalInfo, "it")
    assert decode(info.lexical.to_json(), LexicalInfo, "it") == info.lexical


def test_two_attempts_leave_one_set_of_files(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    before = lexical_files(store)
    info = read_segment(store, read_snapshot(store).segments[0])
    paths = SegmentPaths(store, info.name)
    assert build_lexical(paths, info.parts, "english") == info.lexical
    assert lexical_files(store) == before
    shard = plan_lexical(info.parts)[0]
    short = replace(shard, parts=(replace(shard.parts[0], rows=99), *shard.parts[1:]))
    with raises(Damaged, "file", Path(paths.vectors, shard.parts[0].name)):
        build.build_lexical_shard(paths, short, "english")


def test_embed_makes_one_and_appends_to_it(tmp_path: Path, albert: Path) -> None:
    texts = make_texts(40, seed=9)
    first = write_corpus(tmp_path / "first", list(texts))
    store = str(tmp_path / "store")
    options = EmbedOptions((str(first),), store, ModelOptions(str(albert)))
    done = embed.run(replace(options, lexical=LexicalOptions("auto", "none")))
    assert done.lexical == "none"
    assert Store.open(store).mode() == "hybrid"
    second = write_corpus(tmp_path / "second", ["albeam river", *texts[1:]])
    done = embed.run(replace(options, inputs=(str(second),)))
    infos = [read_segment(store, ref) for ref in read_snapshot(store).segments]
    assert [info.lexical.language for info in infos if info.lexical is not None] == ["none"] * 2
    opened = Store.open(store)
    [[hit, *_]] = opened.search(["albeam river"])
    assert hit.document_id == "doc-00000"
    assert verify.run(store).segments == 2
    french = replace(options, lexical=LexicalOptions("auto", "french"))
    with pytest.raises(BadInput) as caught:
        embed.run(french)
    assert (caught.value.option, caught.value.value) == ("language", "french")
    without = replace(options, store=str(tmp_path / "other"), lexical=LexicalOptions("none"))
    embed.run(without)
    assert Store.open(without.store).mode() == "dense"
    assert lexical_files(without.store) == []
