"""The code of README and docs runs: each page from top to bottom in a folder of its own.

Blocks with ``<!-- not run: REASON -->`` before them are left out. In a ``console`` block the output
is compared, except for numbers; a line ``…`` stands for any lines.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.docs.check import RUN, commands_of
from deploy.docs.markdown import Block, Page, pages
from pipeline.cli import main
from tests.docs.json_variants import check_json, expected_keys
from tests.docs.workbench import make_workbench
from transforms.encoder import encoder
from transforms.encoder.encoder import Encoder
from transforms.models.options import Placement
from transforms.models.resolve import Model

#: Pages that begin with nothing: they make their own corpus.
FROM_NOTHING = ("README.md", "docs/quickstart.md", "docs/tasks.md")
#: Commands whose keys are compared with docs/reference/json.md, in this order on one store.
#: Those that take a watched folder or a training are left out: they print a dataclass as it is.
COMMANDS_WITH_JSON = (
    *("search store river", "search store river --reader READER"),
    "search store --questions questions.parquet --output run.parquet",
    "ask store river --reader READER --rerank 0",
    *("evaluate store questions.parquet", "evaluate store questions.parquet --modes all"),
    "evaluate store questions.parquet --tune",
    "compare bm25.trec bm25.trec --questions questions.parquet",
    *("delete store chess", "rollback store 1", "snapshots store", "vacuum store --dry-run"),
    *("compact store", "index store --index flat", "tune store --queries 5", "verify store"),
    "classify store ages.parquet --output head",
    "predict head --store store --output predictions",
    "evaluate-task head ages.parquet --store store",
    *("plan corpus", "embed corpus --store store", "doctor"),
    "bundle store --output bundle",
    "demo --limit 20 --store other --corpus documentation",
)
PAGES = [page for page in pages() if any(b.language in RUN and not b.not_run for b in page.blocks)]


@pytest.fixture(scope="module", autouse=True)
def _models_load_once() -> Iterator[None]:
    """Most of the time of a small command is spent on loading its model."""
    made: dict[object, Encoder] = {}

    def load(model: Model, placement: Placement) -> Encoder:
        key = (model.folder, model.identity, placement)
        if key not in made:
            made[key] = Encoder(model, placement)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "Encoder", load)
        yield


@pytest.fixture(scope="module")
def workbench(_models_load_once: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, questions, a store and tiny models."""
    folder = make_workbench(tmp_path_factory.mktemp("workbench") / "base")
    store = str(folder / "store")
    assert main(["embed", str(folder / "corpus"), "--store", store, "--all-columns"]) == 0
    return folder


def test_the_guides_have_snippets_that_run() -> None:
    names = {page.name for page in PAGES}
    guides = ("ingest", "vector-index", "lexical-and-hybrid", "maintenance", "evaluation")
    assert names >= {*FROM_NOTHING, *(f"docs/{name}.md" for name in guides)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(
    page: Page,
    workbench: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "work"
    if page.name in FROM_NOTHING:
        folder.mkdir()
    else:
        shutil.copytree(workbench, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    names = {"__name__": "__main__"}
    for block in page.blocks:
        if block.language not in RUN or block.not_run:
            continue
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            exec(compile(block.code, where, "exec"), names)
            continue
        outputs = []
        for command in commands_of(block):
            capsys.readouterr()
            code = main(arguments_of(command))
            printed = capsys.readouterr()
            assert code == 0, f"{where}: {command} exits with {code}: {printed.err}"
            check_json(arguments_of(command), printed.out)
            outputs.append(printed.out)
        if block.language == "console":
            for shown, printed_text in zip(shown_outputs(block), outputs, strict=True):
                assert alike(shown, printed_text), f"{where} shows {shown}, printed {printed_text}"


def arguments_of(command: str) -> list[str]:
    """The words of a command after ``albeam``; unquoted globs are for the shell."""
    words = shlex.split(command, comments=True)
    assert words[0] == "albeam"
    return words[1:]


def shown_outputs(block: Block) -> list[str]:
    """What a console block shows below each of its commands."""
    outputs: list[list[str]] = []
    continued = False
    for line in block.code.splitlines():
        if line.startswith("$ "):
            outputs.append([])
        elif not continued:
            outputs[-1].append(line)
        continued = line.endswith("\\")
    return ["\n".join(lines) for lines in outputs]


def alike(shown: str, printed: str) -> bool:
    """Whether output is as shown, numbers and blanks apart."""
    if not shown.strip():
        return True
    parts = [re.escape(_plain(part)) for part in re.split(r"^…$", shown, flags=re.MULTILINE)]
    return re.fullmatch(r"\s*" + r".*".join(parts) + r"\s*", _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    lines = [" ".join(re.sub(r"\d+(?:[.,]\d+)*", "0", line).split()) for line in text.splitlines()]
    return "\n".join(line for line in lines if line)


def test_outputs_are_compared_but_for_numbers() -> None:
    assert alike("1. 0.8  doc\n…\nend", "1. 0.75 doc\nmore\nlines\nend\n")
    assert not alike("1. 0.8  doc", "1. 0.75 other")
    assert not alike("a", "a\nb")


def test_the_keys_of_json_are_those_of_the_reference(
    workbench: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(workbench, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    for command in COMMANDS_WITH_JSON:
        words = [*command.split(), "--json"]
        capsys.readouterr()
        assert main(words) == 0, command
        check_json(words, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("command", "lacking"),
    [
        ("evaluate store q", "metrics"),
        ("evaluate store q --modes all", "latency"),
        ("search store q --reader READER", "answer"),
        ("demo", "right"),
    ],
)
def test_an_output_without_one_of_its_keys_is_noticed(command: str, lacking: str) -> None:
    words = [*command.split(), "--json"]
    row = dict.fromkeys(expected_keys(words))
    check_json(words, json.dumps(row))
    del row[lacking]
    with pytest.raises(AssertionError):
        check_json(words, json.dumps(row))
