"""The architecture: which package imports which, without cycles, and who owns heavy libraries."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: A shorter list of files means that the search for them is broken.
_FEWEST_FILES = 150
#: A file has one idea.
_MOST_LINES = 400

#: Which packages each package of ``transforms`` may import, besides ``errors``.
TRANSFORMS: dict[str, set[str]] = {
    "runtime": set(),
    "storage": set(),
    "models": set(),
    "encoder": {"models", "runtime"},
    "catalog": {"storage", "models", "runtime"},
    "ingest": {"catalog", "encoder", "storage", "models", "runtime"},
    "index": {"catalog", "storage", "runtime"},
    "training": {"encoder", "models", "storage", "runtime"},
    "transactions": {"ingest", "index", "catalog", "storage", "models"},
    "search": {"index", "catalog", "encoder", "storage", "models", "runtime"},
    "streaming": {"transactions", "ingest", "index", "catalog", "storage", "models", "runtime"},
    "evaluation": {"search", "index", "storage"},
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
    "bench": {"ingest", "command_line"},
}
#: Modules that stand outside the packages, and may import any of them.
LOOSE = {
    *("transforms.errors", "pipeline.__main__", "pipeline.cli", "pipeline.parser"),
    "pipeline.demo",
}
#: Which files may import a heavy library: folders, or files without their ending.
OWNERS = {
    "faiss": ("transforms/index/vector/faiss_",),
    "tantivy": ("transforms/index/lexical/",),
    "torch": (
        *("transforms/encoder/", "transforms/training/", "transforms/runtime/devices"),
        *("transforms/runtime/cpu_pool", "transforms/index/vector/kmeans"),
        *("transforms/search/cross_encoders", "pipeline/bench/"),
    ),
}


@dataclass(frozen=True)
class Arrow:
    """One import between two files of albeam, by their dotted names."""

    source: str
    target: str
    #: Whether it is there for type checkers alone.
    typing: bool


def sources() -> dict[str, Path]:
    """All modules of albeam but the packages' own, by dotted name."""
    paths = [*ROOT.glob("transforms/**/*.py"), *ROOT.glob("pipeline/**/*.py")]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name: path for name, path in named.items() if path.name != "__init__.py"}


def imports(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Module, name and whether it is for type checkers alone, of each import in a file."""
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
    """All imports among albeam's own modules."""
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
    """The package of a module, such as ``transforms.index``; a loose module is its own."""
    return module if module in LOOSE else ".".join(module.split(".")[:2])


def test_every_module_stands_in_a_package_that_the_tables_know() -> None:
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


def test_the_tables_have_no_arrow_that_no_import_needs() -> None:
    used = {(room(arrow.source), room(arrow.target)) for arrow in arrows()}
    for kind, table in (("transforms", TRANSFORMS), ("pipeline", PIPELINE)):
        for package, allowed in table.items():
            for other in allowed:
                assert (f"{kind}.{package}", f"{kind}.{other}") in used, (package, other)


def test_vector_and_lexical_indexes_do_not_import_each_other() -> None:
    halves = ("transforms.index.vector.", "transforms.index.lexical.")
    for arrow in arrows():
        for one, other in (halves, halves[::-1]):
            assert not (arrow.source.startswith(one) and arrow.target.startswith(other)), arrow


def test_no_module_imports_itself_by_way_of_others() -> None:
    targets: dict[str, set[str]] = {}
    for arrow in arrows():
        if not arrow.typing:
            targets.setdefault(arrow.source, set()).add(arrow.target)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for target in sorted(targets.get(module, ())):
                visit(target, (*way, module))
            done.add(module)

    for module in sorted(targets):
        visit(module, ())


def test_heavy_libraries_are_imported_by_their_owners_alone() -> None:
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


def test_neither_package_imports_tests_or_deploy() -> None:
    for path in sources().values():
        for module, _, _ in imports(path):
            assert module.split(".")[0] not in {"tests", "deploy"}, path


def test_a_file_has_a_docstring_and_one_idea() -> None:
    for path in sources().values():
        content = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(content)), path
        assert len(content.splitlines()) <= _MOST_LINES, path


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def test_help_imports_nothing_heavy_and_answers_within_a_second() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'faiss', 'apache_beam', 'transformers', 'pyarrow', 'numpy'} "
        "& set(sys.modules)))"
    )
    assert run(sys.executable, "-c", code).splitlines()[-1] == "[]"
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        run(sys.executable, "-m", "pipeline.cli", "--help")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1


def test_without_faiss_the_error_says_which_extra_to_install() -> None:
    code = "import sys; sys.modules['faiss'] = None; from transforms import Store"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert "pip install 'albeam[cpu]', or 'albeam[gpu]'" in done.stderr
