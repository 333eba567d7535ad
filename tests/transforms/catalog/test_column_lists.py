"""Lists of columns, whatever the names hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.catalog.column_lists import parse_names, parse_pairs, written, written_pair
from transforms.errors import BadInput

NAMES = st.text(alphabet=[*'ab,="', " ", "\n", "é", "\\", "#"], max_size=6)


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        ("", []),
        ("a", [("a", "a")]),
        (" a , b=c ,,", [("a", "a"), ("b", "c")]),
        ("new=a=b", [("new", "a=b")]),
        ("a=", [("a", "a")]),
        ('"a,b"', [("a,b", "a,b")]),
        ('x="a,b=c", y', [("x", "a,b=c"), ("y", "y")]),
        ('"a=b"="c""d"', [("a=b", 'c"d')]),
        ('x=""', [("x", "")]),
        ('""', [("", "")]),
        (' " a " ', [(" a ", " a ")]),
        ('a"b', [('a"b', 'a"b')]),
    ],
)
def test_a_list_of_pairs(value: str, pairs: list[tuple[str, str]]) -> None:
    assert list(parse_pairs("metadata_columns", value)) == pairs


@pytest.mark.parametrize("value", ['"a', '"a"b', 'x="a"b', "=a", 'x="a""'])
def test_a_list_that_cant_be_read_is_refused(value: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_pairs("metadata_columns", value)
    assert (caught.value.option, caught.value.value) == ("metadata_columns", value)


def test_a_list_of_names_renames_nothing() -> None:
    assert parse_names("exclude_columns", 'a,"b=c"') == ("a", "b=c")
    with pytest.raises(BadInput) as caught:
        parse_names("exclude_columns", "b=c")
    assert '"b=c"' in caught.value.remedy


@given(st.lists(st.tuples(NAMES, NAMES)))
def test_any_names_can_be_written_and_read(pairs: list[tuple[str, str]]) -> None:
    value = ",".join(written_pair(new, old) for new, old in pairs)
    assert list(parse_pairs("metadata_columns", value)) == pairs
    names = ",".join(written(new) for new, _ in pairs)
    assert list(parse_names("exclude_columns", names)) == [new for new, _ in pairs]
