"""``ask.py``: one file of albeam's modules, which analyzes words as tantivy does."""

import ast
import builtins
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.support.models import make_texts
from tests.support.raising import raises
from tests.support.spellings import random_words
from transforms.bundles.ask_script import ask_script
from transforms.catalog.options import LANGUAGES
from transforms.errors import BadInput
from transforms.index.lexical.analyzer import Analyzer
from transforms.index.lexical.character_tables import character_tables

#: Names that only annotations have, which are not evaluated.
_ANNOTATIONS = {"Dense", "LexicalIndex", "LiveRows", "RowReader", "Snapshot", "Stages"}
_LIBRARIES = {"numpy", "pyarrow", "onnxruntime", "tokenizers"}
TEXTS = (
    "How do I parse JSON from a string?",
    "O'Brien's e-mail: C++ and C#, .NET 4.8, v3.11, snake_case, parseHTMLDocument, PDFs",
    "https://example.com/a/b?c=d#e user@example.org C:\\temp\\x.py 1,234,567 and 12-24",
    "Straße Müller über Ünïcödé naïve café œuvre Ærø Ångström ﬁne ½ ² Ⅷ",
    "İstanbul ISPARTA ılık d'Artagnan l'homme jusqu’à dell’arte",
    'Ελληνικά ΣΊΣΥΦΟΣ ᾳ Русский ёлка Українська עִבְרִית צה"ל العَرَبِيَّة کتاب‌ها',
    "हिन्दी हिंदी தமிழ் ไทย ភាសា 日本語のテキスト 中文 한국어 ｶﾞ ガ",
    "emoji 👍🏽 ❤️ ☃ soft\u00adhyphen zero\u200bwidth \u202ebidi\u202c e\u0301 a\u0301\u0323",
    "U.S.A. rock'n'roll we'll don't it’s 3D 2x 4K iPhone's aBcDeFgHiJkLmNoPqRs __init__",
    "x" * 150 + " " + "running" * 40,
)


def load(language: str) -> Any:
    """Return ``ask.py`` for a language as a module."""
    module = ModuleType("ask")
    module.__dict__["__file__"] = "ask.py"
    sys.modules["ask"] = module
    exec(compile(ask_script(language), "ask.py", "exec"), module.__dict__)
    return module


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    sys.modules.pop("ask", None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_those_of_tantivy(language: str) -> None:
    ask = load(language)
    stem = None if ask.STEMMER is None else ask.STEMMER().stemWord
    ask.use_tables(character_tables(), stem)
    ours, theirs = ask.Analyzer(language), Analyzer(language)
    texts = [*TEXTS, *make_texts(20), " ".join(random_words(len(language), 300))]
    for text in texts:
        assert [tuple(word) for word in ours.words(text)] == [
            tuple(word) for word in theirs.words(text)
        ]
        assert ours.terms(text) == theirs.terms(text)


@pytest.mark.parametrize("language", [None, "none", "english"])
def test_it_defines_all_that_it_uses_and_needs_four_libraries(language: str | None) -> None:
    tree = ast.parse(ask_script(language))
    imported, defined, used = set[str](), set(dir(builtins)), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [each.name for each in node.names]
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            imported |= {name.split(".")[0] for name in modules}
            defined |= {(each.asname or each.name).split(".")[0] for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
        elif isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
    assert imported <= _LIBRARIES | sys.stdlib_module_names
    assert used - defined - {"__file__", "__name__"} <= _ANNOTATIONS


def test_two_private_names_of_one_spelling_stay_apart() -> None:
    tree = ast.parse(ask_script("english"))
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            targets = [each for target in node.targets for each in ast.walk(target)]
            names += [each.id for each in targets if isinstance(each, ast.Name)]
    twice = {name for name in names if names.count(name) > 1} - {"STEMMER"}
    assert not twice
    assert any("_of_" in name for name in names)


def test_a_missing_stemmer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snowballstemmer", None)
    with raises(BadInput, "store") as caught:
        ask_script("german")
    assert "albeam[bundle]" in str(caught.value)
    assert "Stemmer" not in ask_script("none")
