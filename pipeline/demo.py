"""``albeam demo``: embed the docstrings of Python's standard library, and ask them."""

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.command_line.console import print_json, say
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from pipeline.ingest.report import print_summary
from pipeline.search.report import print_found, print_hits
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.models.options import ModelOptions
from transforms.search.answering import ask
from transforms.search.options import RankOptions
from transforms.search.reading import Reading
from transforms.search.reading_options import READ, ReadingOptions
from transforms.search.store import Store
from transforms.storage.output_files import writing

SHARDS = 4
SHOWN = 3
#: Questions, each with the objects that answer it in their documentation.
QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("How do I parse JSON from a string?", ("json.loads",)),
    ("Copy a whole directory tree", ("shutil.copytree",)),
    (
        "How can I create a temporary directory that is removed afterwards?",
        ("tempfile.TemporaryDirectory",),
    ),
    ("Find the n largest elements of a dataset", ("heapq.nlargest",)),
    ("Wrap a long paragraph so that every line fits a width", ("textwrap.wrap",)),
    ("Compute the median of numeric data", ("statistics.median",)),
    ("Split a URL into its components", ("urllib.parse.urlsplit", "urllib.parse.urlparse")),
    ("Which words are similar to a misspelt one?", ("difflib.get_close_matches",)),
    ("Cache the results of a function", ("functools.lru_cache", "functools.cache")),
    ("Escape HTML special characters in a string", ("html.escape",)),
)
_SKIPPED = frozenset(
    {
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "site-packages",
        "turtledemo",
        "__pycache__",
        "ensurepip",
        "pydoc_data",
        "idle_test",
    }
)
_SHORTEST = 40


@dataclass(frozen=True)
class Documented:
    """Module, class or function of the standard library, with its docstring."""

    name: str
    text: str
    module: str
    kind: str


def run(model: ModelOptions, corpus: str, store: str, limit: int | None, as_json: bool) -> None:
    """Write the corpus, embed it, ask it the questions, and print answers and hits.

    Answers need the reader that comes with albeam.

    Raises:
        BadInput: this Python has no sources of its library, or ``albeam embed`` raises it.
    """
    write_corpus(Path(corpus), limit)
    summary = embed(
        EmbedOptions(
            inputs=(corpus,),
            store=store,
            model=model,
            columns=ColumnOptions(all_columns=True),
            mode="replace",
        )
    )
    opened = Store.open(store)
    models = Reading(ReadingOptions.shipped())
    options = RankOptions(READ, opened.mode())
    found = list(ask(opened, [question for question, _ in QUESTIONS], options, models))
    answers: list[dict[str, Any]] = [
        {
            "question": question,
            "expected": expected,
            "found": [hit.document_id for hit in each.hits],
            "answer": None if each.answer is None else asdict(each.answer),
        }
        for (question, expected), each in zip(QUESTIONS, found, strict=True)
    ]
    right = sum(bool(set(answer["expected"]) & set(answer["found"])) for answer in answers)
    if as_json:
        print_json({"summary": vars(summary), "right": right, "answers": answers})
        return
    print_summary(summary, as_json=False)
    for (question, expected), each in zip(QUESTIONS, found, strict=True):
        places = [hit.rank for hit in each.hits if hit.document_id in expected]
        place = f"rank {places[0]}" if places else "not among the first 5"
        say()
        say(f"{question}  ({' or '.join(expected)}: {place})")
        if each.answer is not None:
            print_found(each.answer)
        print_hits(each.hits[:SHOWN])
    say()
    say(f"{right} of {len(QUESTIONS)} expected objects are among the first 5.")
    command = "ask" if models.reads else "search"
    say(f'Ask your own question: albeam {command} {store} "How do I read a CSV file?"')


def write_corpus(folder: Path, limit: int | None = None, library: Path | None = None) -> int:
    """Write the docstrings of the standard library as Parquet files, and return their number.

    Args:
        folder: where the files are written.
        limit: only the first documents, by name; None for all.
        library: the folder of the library; None for this Python's.

    Raises:
        BadInput: this Python has no sources of its library.
    """
    root = library or Path(sysconfig.get_path("stdlib"))
    documents: dict[str, Documented] = {}
    # The names of a package follow those of the packages before it, so that few need no more.
    for _, package in groupby(standard_library(root), lambda item: item.name.partition(".")[0]):
        documents |= {item.name: item for item in package}
        if limit is not None and len(documents) >= limit:
            break
    items = [documents[name] for name in sorted(documents)][:limit]
    if not items:
        raise BadInput(
            "standard library",
            str(root),
            "has no Python sources",
            "Run the demo with a Python that has them",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        some = items[shard::SHARDS]
        table = pa.table(
            {
                "id": [item.name for item in some],
                "text": [item.text for item in some],
                "module": [item.module for item in some],
                "kind": [item.kind for item in some],
            },
            pa.schema([(name, pa.string()) for name in ("id", "text", "module", "kind")]),
        )
        path = folder / f"docstrings-{shard}.parquet"
        # An unchanged file keeps its modification time, so that a second demo has nothing to do.
        if not path.exists() or not pq.read_table(path).equals(table):
            with writing(str(path)) as partial:
                pq.write_table(table, partial, compression="zstd")
    return len(items)


def standard_library(root: Path) -> Iterator[Documented]:
    """Yield the public documented objects of the library in a folder, without importing it."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if _SKIPPED & set(parts) or any(p.startswith("_") and p != "__init__" for p in parts):
            continue
        module = ".".join(p for p in parts if p != "__init__")
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        text = ast.get_docstring(tree)
        if text and len(text) >= _SHORTEST and module:
            yield Documented(module, f"{module}\n{text}", module, "module")
        yield from _members(tree, module, module)


def _members(node: ast.AST, module: str, prefix: str) -> Iterator[Documented]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if child.name.startswith("_"):
            continue
        name = f"{prefix}.{child.name}"
        text = ast.get_docstring(child)
        is_class = isinstance(child, ast.ClassDef)
        if text and len(text) >= _SHORTEST:
            kind = "class" if is_class else "function"
            yield Documented(name, f"{name}\n{text}", module, kind)
        if is_class:
            yield from _members(child, module, name)
