"""``ask.py`` of a bundle: one file of albeam's own modules of ranking, and of a stemmer.

It ranks as `Store.search` does because it is the same source. What these modules import from the
rest of albeam is defined by `transforms.bundles.edge`.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from transforms.runtime.extras import check_installed

_HEAD = '''"""Ask this bundle of an albeam store: python ask.py "a question"

Needs Python 3.11, numpy, onnxruntime, tokenizers and pyarrow. Written by albeam bundle from
albeam's own modules, under the Apache License 2.0; the stemmer is Snowball's, under the BSD
License. LICENSES has both.
"""

from __future__ import annotations

'''
_VECTORS = ("_TYPE", "_SIGN_AND_NUMBER", "_BIAS", "Raw", "rounded", "widen")
_MAIN = '''"""Ask this bundle: python NAME.zip "a question"."""

import sys

try:
    from ask import main
except ModuleNotFoundError as error:
    sys.exit(f"{{error}}. Run: pip install {packages}")
sys.exit(main())
'''
#: The modules of ``ask.py`` in their order, and the names that are taken; None takes all.
SOURCES: tuple[tuple[str, tuple[str, ...] | None], ...] = (
    ("transforms.index.products", None),
    ("transforms.index.top_k", None),
    ("transforms.index.shard_layout", ("even_rows",)),
    ("transforms.index.vector.float16_vectors", _VECTORS),
    ("transforms.index.vector.exact_ranking", None),
    ("transforms.index.lexical.terms", None),
    ("transforms.index.lexical.compounds", None),
    ("transforms.index.lexical.folding", None),
    ("transforms.index.lexical.words", None),
    ("transforms.bundles.edge.steps", None),
    (
        "transforms.index.lexical.analyzer",
        (
            *("_ACCENTS_FOLDED", "_LONGEST_STEMMED", "_KEPT_TEXTS", "T"),
            *("Analyzer", "_Kept", "_filters", "_bounded"),
        ),
    ),
    ("transforms.index.lexical.word_ranking", None),
    ("transforms.search.options", ("MODES", "FUSIONS", "DEFAULT_WEIGHT")),
    ("transforms.search.spread", None),
    ("transforms.search.fusion", None),
    ("transforms.search.ranking", None),
    ("transforms.bundles.edge.files", None),
    ("transforms.bundles.edge.where", None),
    ("transforms.bundles.edge.substitutes", None),
    ("transforms.search.ranker", None),
    ("transforms.bundles.edge.encoder", None),
    ("transforms.bundles.edge.dense", None),
    ("transforms.bundles.edge.lexicon", None),
    ("transforms.bundles.edge.answer", None),
)
#: What ``ask.py`` does not import: it has it itself, or needs it for annotations alone.
_OWN = ("transforms", "tantivy", "__future__")


def ask_script(language: str | None) -> str:
    """Return ``ask.py`` for a store whose lexical index has a language; None without an index.

    Raises:
        BadInput: the library of the stemmer is not installed.
    """
    sources, end = list(SOURCES), ""
    if language not in (None, "none"):
        check_installed("snowballstemmer", "store", language)
        sources[:0] = [
            (f"snowballstemmer.{name}", None)
            for name in ("basestemmer", "among", f"{language}_stemmer")
        ]
        end = f"STEMMER = {str(language).capitalize()}Stemmer\n"
    imports, bodies, known = set[str](), list[str](), dict[str, str]()
    for module, names in sources:
        found, body = _parts(module, names, known)
        imports |= found
        bodies.append(f"# {module}\n\n{body}")
    body = "\n\n\n".join(bodies)
    lines = sorted(line for line in imports if re.search(rf"\b{line.split()[-1]}\b", body))
    end += 'if __name__ == "__main__":\n    sys.exit(main())\n'
    return _HEAD + "\n".join(lines) + f"\n\n\n{body}\n\n\n{end}"


def main_script(packages: Iterable[str]) -> str:
    """Return the program of an archive, which runs its ``ask.py``; that needs some packages."""
    return _MAIN.format(packages=" ".join(f"'{each}'" for each in packages))


def _parts(
    module: str, names: tuple[str, ...] | None, known: dict[str, str]
) -> tuple[set[str], str]:
    """Return the imports of a module, and its other statements, of which each is new."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None, module
    source = Path(spec.origin).read_text(encoding="utf-8")
    imports, texts, renamed = set[str](), list[str](), dict[str, str]()
    for node, text in _statements(source):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if not _is_own(node):
                imports |= set(_lines(node))
            continue
        defined = _defined(node)
        if names is not None and not defined & set(names):
            continue
        if any(known.get(name) == text for name in defined):
            continue
        for name in sorted(defined & known.keys()):
            # Two modules have a private name in common.
            assert name.startswith("_"), f"{module}: {name} is defined twice"
            renamed[name] = f"{name}_of_{module.rpartition('.')[2]}"
        known |= dict.fromkeys(defined, text)
        texts.append(text)
    body = "\n\n\n".join(texts)
    for name, other in renamed.items():
        body = re.sub(rf"(?<![\w.]){name}\b", other, body)
    return imports, body


def _statements(source: str) -> Iterator[tuple[ast.stmt, str]]:
    """Yield the statements of a module with the comments before them, without its docstring."""
    lines, tree = source.splitlines(), ast.parse(source)
    last = 0
    for place, node in enumerate(tree.body):
        first, last = last, node.end_lineno or 0
        if place == 0 and ast.get_docstring(tree) is not None:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node, "\n".join(lines[first:last]).strip("\n")


def _lines(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield an import as lines of one name each, which is the last word."""
    start = f"from {node.module} import" if isinstance(node, ast.ImportFrom) else "import"
    for alias in node.names:
        yield f"{start} {alias.name}" + (f" as {alias.asname}" if alias.asname else "")


def _is_own(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").split(".")[0] in _OWN
    return all(alias.name.split(".")[0] in _OWN for alias in node.names)


def _defined(node: ast.stmt) -> set[str]:
    """Return the names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {
        inner.id
        for target in targets
        if target is not None
        for inner in ast.walk(target)
        if isinstance(inner, ast.Name)
    }
