"""The texts of errors, and the checks that all options share."""

import math
import pickle

import pytest

from transforms.errors import (
    AlbeamError,
    BadInput,
    Damaged,
    check_above_zero,
    check_at_least,
    check_choice,
    check_share,
)

_FOLDERS = "/".join(["team", "segments"] * 30)


@pytest.mark.parametrize(
    "address",
    [
        f"gs://bucket/{_FOLDERS}/part-00017-abcd1234.parquet",
        f"/home/me/{_FOLDERS}/part.parquet",
        f"/home/me/My Files/{_FOLDERS}/a part.parquet",
        f"file:///home/me/My Files/{_FOLDERS}/a part.parquet",
        f"simplecache::s3://bucket/My Files/{_FOLDERS}/a part.parquet",
        f"~/My Files/{_FOLDERS}/a part.parquet",
        f"./My Files/{_FOLDERS}/a part.parquet",
        f"{_FOLDERS}/part.parquet",
        250 * "n" + ".json",
    ],
)
def test_a_long_path_or_url_is_printed_whole(address: str) -> None:
    assert address in str(Damaged("file", address, "is missing", "Restore it"))


def test_a_long_text_is_shortened_in_its_middle() -> None:
    text = "begin " + 1_000 * "and on " + "end"
    shown = str(BadInput("question", text, "is too long", "Ask less"))
    assert shown.startswith("question 'begin and on ")
    assert "and on end': is too long. Ask less." in shown
    assert "…" in shown
    assert len(shown) < 320


def test_a_text_with_a_path_in_it_is_shortened_too() -> None:
    text = f"path = '/a/b' and lang in ({', '.join(['de'] * 500)})"
    assert len(str(BadInput("where", text, "is no condition"))) < 320


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(BadInput("k", 0, "must be at least 1", "Give 1 or more")))
    assert (error.option, error.value) == ("k", 0)
    assert str(error) == "k 0: must be at least 1. Give 1 or more."


def test_checks_pass_what_is_in_range_or_not_given() -> None:
    check_choice("mode", "a", ("a", "b"))
    check_choice("mode", None, ("a", "b"))
    for check in (check_above_zero, check_share):
        check("rate", 0.5)
        check("rate", None)
    check_at_least("k", 1, 1)
    check_at_least("k", None, 1)


@pytest.mark.parametrize("value", [0.999, -1, math.inf, math.nan])
def test_a_number_below_the_least_one_is_refused(value: float) -> None:
    with pytest.raises(BadInput) as caught:
        check_at_least("k", value, 1)
    assert (caught.value.option, caught.value.problem) == ("k", "must be at least 1")


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_a_number_that_is_not_above_0_is_refused(value: float) -> None:
    with pytest.raises(BadInput) as caught:
        check_above_zero("every", value, "Give a time such as 30s")
    assert caught.value.remedy == "Give a time such as 30s"


@pytest.mark.parametrize("value", [0, 1.01, math.nan])
def test_a_number_that_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(AlbeamError) as caught:
        check_share("average", value)
    assert caught.value.option == "average"


def test_an_unknown_choice_is_refused_with_all_choices() -> None:
    with pytest.raises(BadInput) as caught:
        check_choice("mode", "c", ("a", "b"))
    assert str(caught.value) == "mode c: must be one of a, b. Give a, for example."
