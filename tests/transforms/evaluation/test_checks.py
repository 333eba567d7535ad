"""What distorts an evaluation: ids that the store lacks or hides, against the ids of all rows."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import add_segment
from transforms.evaluation.checks import check_evaluation, hidden_ids, unknown_ids
from transforms.evaluation.questions import Question
from transforms.search.options import RankOptions
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Documents d0 to d9 in two segments, of which d3 and d7 were removed; years count rows."""
    url = str(tmp_path_factory.mktemp("checks") / "store")
    add_segment(url, "one", {f"d{n}": 1 + n % 3 for n in range(5)}, parts=2)
    add_segment(url, "two", {f"d{n}": 1 for n in range(5, 10)}, seed=1)
    remove_documents(url, ["d3", "d7"])
    return Store.open(url)


NAMES = [*(f"d{n}" for n in range(12)), "", "D1", "d1 ", "é", "\ud800"]


@settings(max_examples=30, deadline=None)
@given(ids=st.sets(st.sampled_from(NAMES)))
def test_unknown_ids_are_those_that_no_live_row_has(store: Store, ids: set[str]) -> None:
    known = {f"d{n}" for n in range(10)} - {"d3", "d7"}
    assert unknown_ids(store, ids) == ids - known
    met = {
        row["document_id"]
        for table in store.documents()
        for row in table.to_pylist()
        if row["year"] >= 4
    }
    assert hidden_ids(store, ids, RankOptions(where="year >= 4")) == ids - met


def ask(*relevant: str) -> list[Question]:
    return [Question(f"q{n}", "river", (name,)) for n, name in enumerate(relevant)]


def test_notes_count_ids_and_name_the_first(store: Store) -> None:
    found = check_evaluation(store, ask("x1", "d1", "d3", "x1"), ("lexical",))
    assert (found.relevant_ids, found.unknown_ids) == (3, 2)
    assert found.notes == ("2 of 3 relevant ids are not in the store, 'x1' among them.",)
    found = check_evaluation(store, ask("d1", "x1"), ("lexical",))
    assert found.notes == ("1 of 2 relevant ids is not in the store: 'x1'.",)
    assert check_evaluation(store, ask("d1", "d2"), ("lexical",)).notes == ()


def test_documents_that_a_condition_hides_and_runs_of_other_systems(store: Store) -> None:
    others = {"bm25": {"q0": [("d1", 2.0), ("y1", 1.0)], "q1": [("y2", 1.0)]}, "good": {"q0": []}}
    found = check_evaluation(
        store,
        ask("d0", "d9", "x1"),
        ("lexical",),
        others=others,
        rank=RankOptions(where="year = 0"),
    )
    assert found.notes == (
        "1 of 3 relevant ids is not in the store: 'x1'.",
        "1 of 3 relevant ids does not meet the condition: 'd9'.",
        "2 of 3 document ids of the run bm25 are not in the store, 'y1' among them.",
    )
    assert (found.relevant_ids, found.unknown_ids) == (3, 1)


def test_what_the_store_itself_found_is_not_looked_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "documents", None)
    found = [{"q0": [("d1", 1.0)]}]
    assert check_evaluation(store, ask("d1"), ("lexical",), found).notes == ()


def test_a_store_without_documents_knows_no_id(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    add_segment(url, "one", {"a": 1})
    remove_documents(url, ["a"])
    assert unknown_ids(Store.open(url), {"a"}) == {"a"}
