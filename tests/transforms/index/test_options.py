"""Options of indexes: their checks, and that they import nothing heavy."""

import subprocess
import sys
from typing import Any

import pytest

from transforms.catalog.options import LANGUAGES
from transforms.errors import BadInput
from transforms.index.options import IndexOptions, LexicalOptions


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"recall_target": 0}, "recall_target"),
        ({"recall_target": 1.1}, "recall_target"),
        ({"recall_target": float("nan")}, "recall_target"),
        ({"memory": 0}, "index_memory"),
        ({"gpu": "always"}, "gpu"),
        ({"shards": -1}, "shards"),
    ],
)
def test_index_options_out_of_range_are_refused(changes: dict[str, Any], option: str) -> None:
    with pytest.raises(BadInput) as caught:
        IndexOptions(**changes)
    assert caught.value.option == option
    assert str(caught.value.value) == str(*changes.values())
    assert caught.value.remedy


@pytest.mark.parametrize("changes", [{"lexical": "yes"}, {"language": "klingon"}])
def test_lexical_options_that_are_not_a_choice_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(BadInput) as caught:
        LexicalOptions(**changes)
    assert {caught.value.option: caught.value.value} == changes


def test_the_edges_are_taken() -> None:
    assert IndexOptions(recall_target=1, memory=1, gpu="never", shards=0).gpu == "never"
    assert [LexicalOptions("none", each).language for each in LANGUAGES] == list(LANGUAGES)


def test_the_options_import_nothing_heavy() -> None:
    code = (
        "import sys, transforms.index.options\n"
        "heavy = {'torch', 'faiss', 'tantivy', 'apache_beam', 'pyarrow', 'numpy', 'fsspec'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
