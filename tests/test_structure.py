"""The architecture: allowed imports between packages, no cycles, and owners of heavy libraries."""

import ast
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: If there are fewer files, the search for them is broken.
_FEWEST_FILES = 150
#: A longer file has more than one idea.
_MOST_LINES = 300

#: Which packages each package of ``transforms`` may import, besides ``errors``.
TRANSFORMS: dict[str, set[str]] = {
    "runtime": set(),
    "storage": set(),
    "models": {"runtime"},
    "encoder": {"models", "runtime"},
    "catalog": {"storage", "models", "runtime"},
    "ingest": {"catalog", "encoder", "storage", "models", "runtime"},
    "index": {"catalog", "storage", "runtime"},
    "training": {"encoder", "models", "storage", "runtime"},
    "transactions": {"ingest", "index", "catalog", "storage", "models", "runtime"},
    "search": {"index", "catalog", "encoder", "storage", "models", "runtime"},
    "streaming": {"transactions", "ingest", "index", "catalog", "storage", "models", "runtime"},
    "evaluation": {"search", "index", "storage"},
    "tasks": {
        *("catalog", "encoder", "evaluation", "ingest", "models", "runtime", "storage"),
        *("training", "transactions"),
    },
    "compression": {"training", "encoder", "models", "runtime"},
    "bundles": {
        *("search", "index", "catalog", "compression", "encoder", "storage", "models", "runtime"),
    },
}
#: Which slices each slice of ``pipeline`` may import; any may import ``transforms``.
PIPELINE: dict[str, set[str]] = {
    "command_line": set(),
    "runners": {"command_line"},
    "maintenance": {"runners", "command_line"},
    "ingest": {"maintenance", "runners", "command_line"},
    "search": {"runners", "command_line"},
    "evaluation": {"search", "command_line"},
    "training": {"command_line"},
    "tasks": {"runners", "command_line"},
    "compression": {"training", "command_line"},
    "serving": {"command_line"},
    "bench": {"ingest", "command_line"},
    "bundles": {"command_line"},
}
#: Modules outside the packages, which may import any package.
LOOSE = {
    *("transforms.errors", "pipeline.__main__", "pipeline.cli", "pipeline.parser"),
    *("pipeline.demo", "pipeline.demo_command"),
}
#: Last words of the names of modules that a command of their slice imports, and that are not its
#: logic.
_NO_LOGIC = {"arguments", "options", "report"}
#: Which module may import the logic of another command, because it runs that command.
RUNS = {
    ("pipeline.demo", "pipeline.ingest.embed"),
    ("pipeline.ingest.watch", "pipeline.maintenance.compact"),
    ("pipeline.evaluation.commands", "pipeline.search.search"),
    ("pipeline.bench.store", "pipeline.ingest.embed"),
    ("pipeline.bench.systems.albeam", "pipeline.ingest.embed"),
}
#: Files that may import a heavy library, by the beginning of their paths.
OWNERS = {
    "faiss": ("transforms/index/vector/faiss_",),
    "tantivy": ("transforms/index/lexical/",),
    "sklearn": ("transforms/tasks/",),
    "torch": (
        *("transforms/encoder/", "transforms/training/", "transforms/tasks/"),
        *("transforms/compression/", "pipeline/compression/"),
        *("transforms/runtime/devices",),
        *("transforms/runtime/cpu_pool", "transforms/index/vector/kmeans"),
        *("transforms/search/cross_encoders", "pipeline/bench/"),
    ),
}


@dataclass(frozen=True)
class Arrow:
    """An import of one module of albeam by another."""

    source: str
    target: str
    #: Whether only type checkers need it.
    typing: bool


def sources() -> dict[str, Path]:
    """Return the paths of all modules but ``__init__``, by dotted name."""
    paths = [*ROOT.glob("transforms/**/*.py"), *ROOT.glob("pipeline/**/*.py")]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name: path for name, path in named.items() if path.name != "__init__.py"}


@cache
def imports(path: Path) -> tuple[tuple[str, str, bool], ...]:
    """Return the module and the name of each import, and whether only type checkers need it."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, str, bool]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", id(node) in typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            for alias in node.names:
                yield node.module or "", alias.name, id(node) in typing


def arrows() -> list[Arrow]:
    """Return all imports among the modules of albeam."""
    modules = sources()
    found = []
    for name, path in modules.items():
        for module, imported, typing in imports(path):
            target = f"{module}.{imported}"
            if target not in modules:
                target = module
            if target in modules and target != name:
                found.append(Arrow(name, target, typing))
    return found


def room(module: str) -> str:
    """Return the package of a module, such as ``transforms.index``; a loose module is its own."""
    return module if module in LOOSE else ".".join(module.split(".")[:2])


def test_every_module_is_in_a_package_of_the_tables() -> None:
    modules = sources()
    assert len(modules) >= _FEWEST_FILES
    known = {f"transforms.{name}" for name in TRANSFORMS} | {
        f"pipeline.{name}" for name in PIPELINE
    }
    assert {room(name) for name in modules} == known | LOOSE


def test_packages_import_only_what_the_table_allows() -> None:
    found = arrows()
    assert len(found) > _FEWEST_FILES
    wrong = []
    for arrow in found:
        source, target = room(arrow.source), room(arrow.target)
        if source in LOOSE - {"transforms.errors"} or source == target:
            continue
        kind, package = source.split(".")
        table = TRANSFORMS if kind == "transforms" else PIPELINE
        allowed = {f"{kind}.{name}" for name in table.get(package, set())} | {"transforms.errors"}
        if target not in allowed and not (kind == "pipeline" and target.startswith("transforms.")):
            wrong.append(f"{arrow.source} -> {arrow.target}")
    assert not wrong


def test_the_tables_allow_nothing_that_is_not_used() -> None:
    used = {(room(arrow.source), room(arrow.target)) for arrow in arrows()}
    for kind, table in (("transforms", TRANSFORMS), ("pipeline", PIPELINE)):
        for package, allowed in table.items():
            for other in allowed:
                assert (f"{kind}.{package}", f"{kind}.{other}") in used, (package, other)


def test_only_the_parser_imports_the_commands_of_a_slice() -> None:
    commands = [arrow for arrow in arrows() if arrow.target.endswith(".commands")]
    assert {arrow.source for arrow in commands} == {"pipeline.parser"}


def test_a_command_imports_another_only_to_run_it() -> None:
    found = [arrow for arrow in arrows() if not arrow.typing]
    logic = {
        arrow.target
        for arrow in found
        if arrow.source.endswith(".commands")
        and room(arrow.source) == room(arrow.target)
        and re.split(r"[._]", arrow.target)[-1] not in _NO_LOGIC
    }
    assert {"pipeline.ingest.embed", "pipeline.search.search"} <= logic
    other = {
        (arrow.source, arrow.target)
        for arrow in found
        if arrow.target in logic and arrow.source != f"{room(arrow.target)}.commands"
    }
    assert other == RUNS


def test_no_module_uses_the_lazy_names_of_the_public_package() -> None:
    """Such an import is no arrow to a module, so that no other test here sees it."""
    modules = sources()
    for name, path in modules.items():
        for module, imported, _ in imports(path):
            if module in ("transforms", "pipeline"):
                assert f"{module}.{imported}" in modules, f"{name} imports {imported} of {module}"


def test_vector_and_lexical_indexes_do_not_import_each_other() -> None:
    halves = ("transforms.index.vector.", "transforms.index.lexical.")
    for arrow in arrows():
        for one, other in (halves, halves[::-1]):
            assert not (arrow.source.startswith(one) and arrow.target.startswith(other)), arrow


def check_acyclic(targets: dict[str, set[str]]) -> None:
    """Fail with the way round if a graph has a cycle."""
    done: set[str] = set()

    def visit(node: str, way: tuple[str, ...]) -> None:
        assert node not in way, " -> ".join((*way[way.index(node) :], node))
        if node not in done:
            for target in sorted(targets.get(node, ())):
                visit(target, (*way, node))
            done.add(node)

    for node in sorted(targets):
        visit(node, ())


def test_there_are_no_import_cycles() -> None:
    targets: dict[str, set[str]] = {}
    for arrow in arrows():
        if not arrow.typing:
            targets.setdefault(arrow.source, set()).add(arrow.target)
    check_acyclic(targets)


@pytest.mark.parametrize("table", [TRANSFORMS, PIPELINE], ids=["transforms", "pipeline"])
def test_the_tables_allow_no_cycle_of_packages(table: dict[str, set[str]]) -> None:
    check_acyclic(table)
    first = next(iter(table))
    last = next(name for name, allowed in table.items() if first in allowed)
    with pytest.raises(AssertionError, match=first):
        check_acyclic(table | {first: {last}})


def test_only_their_owners_import_heavy_libraries() -> None:
    found: dict[str, set[str]] = {library: set() for library in OWNERS}
    for path in sources().values():
        place = path.relative_to(ROOT).as_posix()
        for module, _, _ in imports(path):
            library = module.split(".")[0]
            if library in OWNERS:
                assert place.startswith(OWNERS[library]), f"{place} imports {library}"
                found[library].add(place)
    for library, owners in OWNERS.items():
        for owner in owners:
            assert any(place.startswith(owner) for place in found[library]), (library, owner)


def test_no_package_imports_tests_or_deploy() -> None:
    for path in sources().values():
        for module, _, _ in imports(path):
            assert module.split(".")[0] not in {"tests", "deploy"}, path


def test_every_file_has_a_docstring_and_a_bounded_length() -> None:
    for path in [*sources().values(), *ROOT.glob("deploy/**/*.py")]:
        content = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(content)), path
        assert len(content.splitlines()) <= _MOST_LINES, path


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def test_help_imports_no_library_and_takes_less_than_a_second() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "files = {name: getattr(module, '__file__', None) or '' "
        "for name, module in sys.modules.items()}\n"
        # Those with an underscore belong to the installation.
        "print([name for name, file in files.items() "
        "if 'site-packages' in file and not name.startswith('_')])"
    )
    assert run(sys.executable, "-c", code).splitlines()[-1] == "[]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(sys.executable, "-m", "pipeline", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, since other processes may keep the processor busy.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_without_faiss_the_error_names_the_extra_to_install() -> None:
    code = "import sys; sys.modules['faiss'] = None; from transforms import Store"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    for extra in ("search", "cpu", "gpu"):
        assert f"'albeam[{extra}]'" in done.stderr
