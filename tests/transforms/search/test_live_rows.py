"""Which rows of a store are live and meet a condition, and for how long that is kept."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.support.stores import add_segment, make_vectors
from transforms.errors import BadInput
from transforms.search.condition import as_condition
from transforms.search.options import RankOptions
from transforms.search.store import Store
from transforms.transactions.removal import remove_documents


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("stores") / "store")
    columns = {"year": pa.int16(), "order": pa.int8()}
    for number in range(3):
        documents = {f"d{number}-{place}": 2 for place in range(20)}
        add_segment(url, f"s{number}", documents, parts=2, seed=number, metadata=columns)
    remove_documents(url, ["d0-3", "d2-7"])
    return url


def test_what_depends_on_the_time_is_asked_again_with_each_search(store: str) -> None:
    found, vectors = Store.open(store), make_vectors(1, seed=78)
    assert len(found.search(vectors, 5, where="now() > '2020-01-01'")[0]) == 5
    soon = datetime.now(UTC) + timedelta(seconds=3)
    where = f"now() > '{soon.isoformat()}'"
    assert found.search(vectors, 5, where=where) == [[]]
    while datetime.now(UTC) <= soon:
        time.sleep(0.1)
    assert len(found.search(vectors, 5, where=where)[0]) == 5
    assert len(found.rank(vectors, RankOptions(5, where=where))[0].rows) == 5
    assert (found.nearest(vectors, 5, where)[1] >= 0).all()


def test_chance_decides_once_for_a_search(store: str) -> None:
    live = Store.open(store).live
    condition = live.condition("random() < 0.5")
    mask = live.mask(condition)
    assert mask is not None
    assert live.mask(condition) is mask
    parts = [live.segment_mask(number, condition) for number in range(3)]
    np.testing.assert_array_equal(mask, np.concatenate(parts))
    assert not np.array_equal(mask, live.mask("random() < 0.5"))


def test_other_conditions_are_kept_by_their_text_and_values(store: str) -> None:
    live = Store.open(store).live
    for where in ("year < 9", ("year < ?", [9]), ("year < $most", {"most": 9})):
        assert live.mask(where) is live.mask(where)
        assert live.count(where) == live.count("year < 9")
    assert live.mask(("year = ?", [1])) is not live.mask(("year = ?", [True]))


def test_the_masks_of_many_conditions_are_kept_if_there_are_few_rows(store: str) -> None:
    live = Store.open(store).live
    masks = [live.mask(f"year < {most}") for most in range(60)]
    for most in (0, 30, 59):
        assert live.mask(f"year < {most}") is masks[most]


def test_dead_rows_meet_no_condition(store: str) -> None:
    found = Store.open(store)
    assert found.live.count() == found.live.count("true") == 3 * 40 - 4
    assert found.live.count("document_id in ('d0-3', 'd2-7', 'd1-3')") == 2
    assert found.live.count(("document_id in ?", [["d0-3", "d1-3", "d9"]])) == 2
    assert found.live.count('"order" = 1') == 6


@pytest.mark.parametrize("where", ["", "language = 'en'", "order = 1", ("year = ?", [])])
def test_a_wrong_condition_is_refused_by_every_search(store: str, where: object) -> None:
    found, vectors = Store.open(store), make_vectors(1, seed=78)
    for search in (found.search, found.nearest):
        with pytest.raises(BadInput) as caught:
            search(vectors, 5, where=where)  # type: ignore[operator]
        assert caught.value.option == "where"


def test_a_wrong_condition_is_refused_by_an_empty_store(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    add_segment(url, "s", {"a": 1})
    remove_documents(url, ["a"])
    for where in ("nothing = 1", "year ="):
        with pytest.raises(BadInput):
            Store.open(url).search(make_vectors(1), 5, where=where)


#: Fails on the rows whose year is 15.
TRAP = "CAST(CASE WHEN year = 15 THEN 'trap' ELSE '1' END AS INT) = 1"


def test_a_condition_within_another_is_evaluated_on_the_rows_of_the_other_alone(store: str) -> None:
    live = Store.open(store).live
    with pytest.raises(BadInput, match="trap"):
        live.mask(TRAP)
    for outer, inner in (("year < 9", TRAP), ("year < 9", "true"), ("year < 0", TRAP)):
        within = as_condition(outer)
        np.testing.assert_array_equal(
            live.numbers(as_condition(inner).inside(within)), live.numbers(outer)
        )
    nested = as_condition(TRAP).inside(as_condition("year > 3").inside(as_condition("year < 9")))
    np.testing.assert_array_equal(live.numbers(nested), live.numbers("year < 9 AND year > 3"))
    assert as_condition(TRAP).inside(within) != as_condition(TRAP)
    # Nothing widens the rows of the other one.
    for text in ("true) OR (true", "true OR", "true; SELECT true", "true UNION SELECT true"):
        with pytest.raises(BadInput):
            live.mask(as_condition(text).inside(as_condition("year < 9")))
    assert live.count(as_condition("true OR year >= 9").inside(as_condition("year < 9"))) == (
        live.count("year < 9")
    )
    for outer in ("year < 0", "year < 9"):
        with pytest.raises(BadInput, match="nothing"):
            live.mask(as_condition("nothing = 1").inside(as_condition(outer)))
