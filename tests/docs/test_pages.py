"""The pages: links, names, generated references, and the checks that find what is wrong."""

import re
from pathlib import Path

import pytest

from deploy.docs import check, generate, markdown, names
from deploy.docs.json_outputs import OUTPUTS
from deploy.docs.json_reference import fields_of, undescribed
from deploy.docs.markdown import ROOT, Page, anchor_of, pages, read_page
from pipeline.command_line.argument_parser import option_names
from pipeline.parser import COMMANDS, build_parser

MOST_README_LINES = 200


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_links_names_and_runs_only_what_there_is(page: Page) -> None:
    assert list(check.page_problems(page)) == []


def test_the_readme_is_short_and_the_index_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= MOST_README_LINES
    index = read_page(ROOT / "docs" / "index.md")
    linked = {(index.path.parent / link).resolve() for link in index.links}
    assert linked >= set((ROOT / "docs").rglob("*.md")) - {index.path}
    assert "docs/index.md" in read_page(ROOT / "README.md").links


def test_the_generated_pages_are_up_to_date() -> None:
    assert generate.outdated() == []


def test_every_command_and_every_option_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    commands = list(COMMANDS)
    assert len(commands) >= 19
    assert re.findall(r"^## albeam (.+)$", text, re.MULTILINE) == commands
    sections = dict(zip(commands, text.split("\n## albeam ")[1:], strict=True))
    for name, section in sections.items():
        for option in option_names(build_parser(), name):
            assert option in ("-h", "--help") or f"`{option}" in section, (name, option)


def test_every_command_with_json_has_its_keys_in_the_reference() -> None:
    parser = build_parser()
    with_json = {name for name in COMMANDS if "--json" in option_names(parser, name)}
    assert {name.partition(" --")[0] for name in OUTPUTS} == with_json
    assert undescribed() == []


def test_the_version_is_that_of_the_package() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    version = re.search(r'version="([^"]+)"', setup)
    assert version is not None
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_names_and_paths_resolve_only_where_they_exist() -> None:
    assert names.wrong_names("transforms.search.store.Store.open") == []
    assert names.wrong_names("transforms.Store") == []
    assert names.wrong_names("deploy/bench") == names.wrong_names("transforms/**/*.py") == []
    for wrong in ("transforms.search.store.Shop", "pipeline.nothing", "deploy/gone.md", "gone.py"):
        assert names.wrong_names(wrong) == [wrong]


def test_a_page_with_faults_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (check, markdown):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# One heading\n[good](#one-heading) [gone](gone.md) [anchor](#none) `tests/gone.py`\n"
        "```sh\nmake demo\n```\n"
        "```\nalbeam embed\n```\n"
        "<!-- not run: shows a format -->\n```json\n{}\n```\n"
        "<!-- not run: needs a cluster -->\n```sh\nmake engines\npython -m deploy.gone\n```\n"
        "```sh\nalbeam snapshots store\n```\n",
        encoding="utf-8",
    )
    found = list(check.page_problems(read_page(page)))
    expected = (
        *("gone.md", "#none", "tests/gone.py", "make demo", "no language", "remove the comment"),
        "deploy.gone",
    )
    assert len(found) == len(expected)
    for problem in expected:
        assert any(problem in each for each in found), problem


def test_anchors_are_those_of_github() -> None:
    assert anchor_of("Keys of `--json`, all of them") == "keys-of---json-all-of-them"
    assert anchor_of("[Link](page.md) & more") == "link--more"


def test_fields_have_the_words_of_their_docstrings() -> None:
    keys, nested = fields_of("transforms/search/results.py", "Hit")
    by_name = {key.name: key for key in keys}
    assert by_name["rank"].kind == "integer"
    assert by_name["dense"].kind == "number or null"
    assert by_name["start"].meaning == by_name["end"].meaning
    assert nested == []
    keys, nested = fields_of("pipeline/runners/doctor.py", "Diagnosis")
    assert nested == [("pipeline/runners/findings.py", "Finding")]
