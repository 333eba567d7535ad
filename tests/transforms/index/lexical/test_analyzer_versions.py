"""Lexical indexes of earlier analyzers: asked as they were written, also beside newer ones."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.support.models import write_corpus
from tests.support.raising import raises
from tests.support.stores import add_segment
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.manifest_json import decode
from transforms.catalog.options import ANALYZER_VERSION
from transforms.catalog.snapshot import read_segment, read_snapshot
from transforms.errors import Damaged
from transforms.index.lexical.build import find_lexical_info
from transforms.index.lexical.tantivy_files import OpenPiece, write_index
from transforms.index.lexical.tantivy_index import LexicalIndex
from transforms.search.store import Store

EARLIER = Path(__file__).resolve().parents[3] / "data" / "store-0.1"
TEXTS = ["a résumé is long", "resume the work", "Beyoncé sang", "parseHTTPResponse", "e-mail"]


@pytest.fixture
def earlier(tmp_path: Path) -> str:
    return str(shutil.copytree(EARLIER, tmp_path / "store"))


def build(folder: Path, *versions: int, language: str = "english") -> LexicalIndex:
    """An index of TEXTS by each of these versions, one after the other."""
    pieces = []
    for place, version in enumerate(versions):
        mine = folder / f"{place}"
        mine.mkdir(parents=True)
        for piece in write_index(mine, TEXTS, language, version):
            pieces.append(OpenPiece(piece.rows, place * len(TEXTS), piece.files, version))
    return LexicalIndex(pieces, language)


def found(index: LexicalIndex, question: str) -> list[int]:
    return sorted(index.search(question, 99)[1].tolist())


def analyzers(store: str) -> list[int]:
    infos = [read_segment(store, ref).lexical for ref in read_snapshot(store).segments]
    return [info.analyzer for info in infos if info is not None]


def lexical(store: str, question: str) -> list[str]:
    [hits] = Store.open(store).search([question], 5, "lexical")
    return [hit.document_id for hit in hits]


def test_each_part_of_a_mixed_index_is_asked_with_its_own_analyzer(tmp_path: Path) -> None:
    first = build(tmp_path / "first", 1)
    second = build(tmp_path / "second", 2)
    mixed = build(tmp_path / "mixed", 1, 2)
    old = len(TEXTS)
    for question in ("résumé", "resume", "Beyoncé", "parseHTTPResponse", "http", "e-mail", "work"):
        from_first = [row for row in found(mixed, question) if row < old]
        from_second = [row - old for row in found(mixed, question) if row >= old]
        # The first is asked with the newer terms, too, so it may find more.
        assert set(from_first) >= set(found(first, question))
        assert from_second == found(second, question)
    assert found(first, "resume") == [1]
    assert found(second, "resume") == [0, 1]
    # One text by two analyzers: where its terms are the same, so are the scores.
    scores, rows = mixed.search("work", 9)
    assert rows.tolist() == [1, 1 + old]
    assert scores[0] == pytest.approx(scores[1], rel=0.05)


def test_a_mixed_index_of_a_language_with_two_terms(tmp_path: Path) -> None:
    mixed = build(tmp_path, 1, 2, language="french")
    assert found(mixed, "résumé") == [0, 1, 5, 6]
    assert found(mixed, "Beyonce") == [2, 7]


def test_a_manifest_names_its_analyzer_unless_it_is_the_first() -> None:
    first = LexicalInfo("english", ())
    assert "analyzer" not in json.loads(first.to_json())
    assert decode(first.to_json(), LexicalInfo, "it") == first
    newest = LexicalInfo("english", (), ANALYZER_VERSION)
    assert decode(newest.to_json(), LexicalInfo, "it") == newest
    for unknown in (0, ANALYZER_VERSION + 1):
        value = json.dumps({"language": "english", "shards": [], "analyzer": unknown})
        with raises(Damaged, "file", problem=f"analyzer {unknown}") as caught:
            decode(value.encode(), LexicalInfo, "it")
        assert "pgrade" in caught.value.remedy


def test_a_manifest_of_0_1_keeps_its_bytes(earlier: str) -> None:
    for ref in read_snapshot(earlier).segments:
        path = Path(earlier, "segments", ref.name, "segment.json")
        info = read_segment(earlier, ref)
        assert info.lexical is not None
        assert info.lexical.analyzer == 1
        lexical = json.loads(path.read_bytes())["lexical"]
        assert json.loads(info.to_json())["lexical"] == lexical


def test_a_store_of_0_1_takes_new_documents_and_is_rebuilt(earlier: str, tmp_path: Path) -> None:
    assert analyzers(earlier) == [1, 1]
    folder = write_corpus(tmp_path / "new", ["Beyoncé reads her résumé on the bridge"])
    embed = ["embed", str(folder), "--store", earlier, "--max-tokens", "64", "--stride", "8"]
    assert main([*embed, "--dtype", "float32"]) == 0
    assert analyzers(earlier) == [1, 1, 2]
    assert lexical(earlier, "Beyonce") == ["doc-00000"]
    assert lexical(earlier, "resume") == ["doc-00000"]
    # A word of both finds both.
    assert set(lexical(earlier, "bridge")) == {"bridge", "doc-00000"}
    assert main(["verify", earlier]) == 0
    assert main(["index", earlier, "--lexical", "auto"]) == 0
    assert analyzers(earlier) == [2, 2, 2]
    assert set(lexical(earlier, "bridge")) == {"bridge", "doc-00000"}
    assert main(["verify", earlier, "--deep"]) == 0
    # The earlier snapshot still has what it had.
    assert Store.open(earlier, 4).search(["bridge"], 1, "lexical")[0][0].document_id == "bridge"


def test_a_compaction_builds_with_the_newest_analyzer(earlier: str) -> None:
    assert main(["compact", earlier]) == 0
    assert analyzers(earlier) == [2]


def test_the_name_of_an_index_tells_its_analyzer(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    add_segment(store, "s", dict.fromkeys(TEXTS, 1))
    assert main(["index", store, "--lexical", "auto"]) == 0
    [ref] = read_snapshot(store).segments
    assert ref.lexical is not None
    made = find_lexical_info(SegmentPaths(store, "s"), "english")
    assert made == ref.lexical
    assert analyzers(store) == [2]
