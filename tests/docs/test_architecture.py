"""The tables of docs/architecture.md say what the code says."""

import re
from pathlib import Path

import pytest

from deploy.docs.markdown import ROOT
from tests.test_structure import PIPELINE, TRANSFORMS

PAGE = ROOT / "docs" / "architecture.md"
LINK = re.compile(r"\[[^\]]+\]\(\.\./([^)#]+)\)")
#: What a stranger may want to change.
CHANGES = (
    *("metric to evaluate", "chunking rule", "vacuum decides", "new index kind", "object store"),
    *("new column in the hits", "new runner", "log the batch size", "tokenizer family"),
    "new exit code",
)


def rows(heading: str) -> list[list[str]]:
    """The cells of the rows of all tables below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


CHANGE_ROWS = [row for row in rows("To change X, open Y") if LINK.search("|".join(row))]


def test_likely_changes_are_in_the_table() -> None:
    changes = " ".join(row[0] for row in CHANGE_ROWS)
    assert len(CHANGE_ROWS) >= 30
    for change in CHANGES:
        assert change in changes, change


@pytest.mark.parametrize("row", CHANGE_ROWS, ids=lambda row: row[0])
def test_the_names_to_look_for_are_in_the_linked_files(row: list[str]) -> None:
    files = [ROOT / target for target in LINK.findall(row[1])]
    texts = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    for name in re.findall(r"`(\w+)`", row[2]):
        assert re.search(rf"\b(?:def|class) {name}\b|^{name}\b|\b{name}\.\w+\(", texts, re.M), name


@pytest.mark.parametrize(
    ("kind", "table"),
    [("transforms", TRANSFORMS), ("pipeline", PIPELINE)],
    ids=["transforms", "pipeline"],
)
def test_the_packages_import_what_the_page_says(kind: str, table: dict[str, set[str]]) -> None:
    found = {}
    for row in rows("Packages"):
        link = re.match(rf"\[(\w+)\]\(\.\./{kind}/\w+\)", row[0])
        if link is not None:
            found[link[1]] = {name.strip() for name in row[2].split(",") if name.strip()}
    assert found == table
    assert all((Path(ROOT) / kind / name).is_dir() for name in found)
