"""Resolve the module names and the repository paths that pages mention."""

import ast
import re
from functools import cache
from pathlib import Path

from deploy.docs.markdown import ROOT

_TOPS = ("transforms", "pipeline", "deploy", "tests", "docs")
_DOTTED = re.compile(rf"(?:{'|'.join(_TOPS)})(?:\.[A-Za-z_]\w*)+")
_PATH = re.compile(rf"(?:{'|'.join(_TOPS)}|\.ci|\.github)/[\w.*/{{}}-]*")
_ROOT_FILE = re.compile(r"[\w-]+\.(?:py|md|toml)|Makefile|LICENSE|constraints\.txt")
_ENDINGS = {"md", "py", "sh", "yaml", "json", "toml", "txt", "html", "svg", "xml"}


def wrong_names(code: str) -> list[str]:
    """Return the module names and paths in inline code that do not resolve."""
    names = [name for name in _DOTTED.findall(code) if name.split(".")[-1] not in _ENDINGS]
    # `transforms.errors` in a longer path such as `transforms/a.b` is not a module name.
    wrong = [name for name in names if name in code.split() or name == code]
    wrong = [name for name in wrong if not module_exists(name)]
    word = code.strip()
    if (_PATH.fullmatch(word) or _ROOT_FILE.fullmatch(word)) and not path_exists(word):
        wrong.append(word)
    return wrong


def modules_run(code: str) -> list[str]:
    """Return the modules of this repository that a block starts with ``python -m``."""
    return [name for name in re.findall(r"-m ([\w.]+)", code) if _DOTTED.fullmatch(name)]


def path_exists(path: str) -> bool:
    """Return whether a path or glob below the root names a file; a bare name may lie anywhere."""
    patterns = [path.rstrip("/")]
    if _ROOT_FILE.fullmatch(path):
        patterns += [f"{top}/**/{path}" for top in _TOPS]
    return any(True for pattern in patterns for _ in ROOT.glob(pattern))


def module_exists(name: str) -> bool:
    """Return whether a dotted name is a module, or a name that a module defines."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        path = _module(parts[:count])
        if path is not None:
            return _defines(path, parts[count:])
    return False


def _module(parts: list[str]) -> Path | None:
    folder = ROOT.joinpath(*parts)
    file = folder.with_suffix(".py")
    if file.is_file():
        return file
    return folder if folder.is_dir() else None


def _defines(path: Path, names: list[str]) -> bool:
    if not names:
        return True
    if path.is_dir():
        path = path / "__init__.py"
        if not path.is_file():
            return False
    members = _members(path)
    return names[0] in members and (len(names) == 1 or names[1] in members[names[0]])


@cache
def _members(path: Path) -> dict[str, frozenset[str]]:
    """Return the names that a module defines, each with those of its class body."""
    found: dict[str, frozenset[str]] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = frozenset(_targets(node.body))
        else:
            found |= dict.fromkeys(_targets([node]), frozenset())
    if path.parent == ROOT / "transforms" and path.name == "__init__.py":
        # The public names are loaded when they are first used.
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts = [node.value for node in tree if isinstance(node, ast.Constant)]
        found |= {text: frozenset() for text in texts if isinstance(text, str)}
    return found


def _targets(body: list[ast.stmt]) -> list[str]:
    names: list[str] = []
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names += [each.id for each in ast.walk(target) if isinstance(each, ast.Name)]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
    return names
