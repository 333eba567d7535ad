"""Collect the training texts of `albeam-small` from many small sources into one Parquet file.

The licence of every source allows this use. The sources are the project's training data, and
manuals, dictionaries and books from Debian and Python packages. `python -m deploy.model.texts
--data DATA --debian UNPACKED --output texts.parquet` writes the columns id, text, source. Run on
Debian. Equal sources and seeds give equal files.

DATA has these files: squad_train and medquad, each with passages.parquet (id, text) and
questions.parquet (question, relevant); text, with paragraphs.parquet (id, text, source) and
questions.parquet (text); stsb/train.parquet (sentence1, sentence2). It may have broad, with
texts.parquet (text, source) and pairs_questions.parquet (question, kind).
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import html
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import BadInput
from transforms.storage.output_files import writing

SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9\"'(])")
DOCSTRING_PACKAGES = ("sklearn", "scipy", "numpy", "pandas", "networkx", "sympy", "torch")
SHORT, LONG = 95, 185  # words: about 128 and 256 tokens
#: The most words of one of the broad sources, and kinds of its questions that are single words.
_WORDS_OF_A_SOURCE = 150_000
_WORDS_ALONE = ("dictionary", "glossary")


def sentences(text: str) -> list[str]:
    """Split a paragraph into sentences of 3 to 95 words."""
    found = (" ".join(part.split()) for part in SENTENCE_END.split(text))
    return [one for one in found if 3 <= one.count(" ") + 1 <= SHORT]


def paragraphs(text: str) -> list[str]:
    """Split plain text at blank lines; keep only blocks of prose."""
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return [block for block in blocks if prose(block)]


def prose(text: str) -> bool:
    """Return whether a block has at least 5 words and more than 75 % letters and spaces."""
    if text.count(" ") < 4:
        return False
    return sum(c.isalpha() or c == " " for c in text) / len(text) > 0.75


def windows(text: str, words: int) -> Iterator[str]:
    """Cut a text into consecutive windows of at most `words` words; drop a short rest."""
    tokens = text.split()
    for start in range(0, len(tokens), words):
        window = tokens[start : start + words]
        if start == 0 or len(window) >= 20:
            yield " ".join(window)


def passages(
    texts: Iterable[str], dice: random.Random, *, split: float, most: int = 3
) -> Iterator[str]:
    """Yield passages, a quarter of them long, and for a share `split` of them their sentences."""
    for text in texts:
        length = LONG if dice.random() < 0.25 else SHORT
        yield from list(windows(text, length))[:most]
        if dice.random() < split:
            yield from sentences(text)[: 8 * most]


def column(path: Path, name: str) -> list[str]:
    """Read one text column of a Parquet file."""
    return [text for text in pq.read_table(path, columns=[name])[name].to_pylist() if text]


def by_turns(rows: Iterable[tuple[str, str]], words: int) -> Iterator[str]:
    """Yield texts of (source, text) rows, at most some words of each source."""
    taken: dict[str, int] = {}
    for source, text in rows:
        taken[source] = taken.get(source, 0) + text.count(" ") + 1
        if taken[source] <= words:
            yield text


def broad(folder: Path, dice: random.Random) -> dict[str, Iterator[str]]:
    """Return the texts and the questions of many fields by name; none without such a folder."""
    if not folder.is_dir():
        return {}
    table = pq.read_table(folder / "texts.parquet", columns=["source", "text"])
    rows = list(zip(table["source"].to_pylist(), table["text"].to_pylist(), strict=True))
    dice.shuffle(rows)
    asked = pq.read_table(folder / "pairs_questions.parquet", columns=["question", "kind"])
    kinds = zip(asked["kind"].to_pylist(), asked["question"].to_pylist(), strict=True)
    questions = [question for kind, question in kinds if kind not in _WORDS_ALONE]
    return {
        "broad passages": passages(by_turns(rows, _WORDS_OF_A_SOURCE), dice, split=0.25, most=2),
        "broad questions": iter(dict.fromkeys(questions)),
    }


def plain_html(path: Path) -> str:
    """Read an HTML page as text without code; blank lines separate block elements."""
    page = path.read_text(encoding="utf-8", errors="replace")
    page = re.sub(r"(?is)<(script|style|pre|table|nav|head)\b.*?</\1>", " ", page)
    page = re.sub(r"(?i)</?(p|div|li|dd|dt|h\d|section)\b[^>]*>", "\n\n", page)
    return html.unescape(re.sub(r"<[^>]+>", "", page)).replace("¶", "")


def manual_page(path: Path) -> str:
    """Read a gzipped manual page as text without its roff requests and escapes."""
    source = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    lines = []
    for line in source.splitlines():
        if line.startswith((".", "'")):
            words = line.split()
            inline = len(words) > 1 and len(words[0]) == 3 and words[0] not in (".Sh", ".Dd", ".Dt")
            lines.append(" ".join(words[1:]) if inline and words[0] != '.\\"' else "")
        else:
            lines.append(line)
    return re.sub(r"\\f.|\\&|\\", "", "\n".join(lines))


def wordnet(path: Path) -> Iterator[str]:
    """Yield "word: definition" and the example sentences of a dictd WordNet file."""
    entries = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    for entry in re.split(r"\n(?=\S)", entries):
        head, _, body = entry.partition("\n")
        body = re.sub(r"\[[^\]]*\]", "", " ".join(body.split()))
        body = body.replace("{", "").replace("}", "")
        for sense in re.split(r"(?:\b(?:n|v|adj|adv|s)\s)?\b\d+:\s", body)[1:]:
            quoted = re.findall(r'"([^"]{12,})"', sense)
            meaning = re.split(r'[;,]?\s*"', sense)[0].strip()
            if meaning:
                yield f"{head.strip()}: {meaning}"
            yield from (one for one in quoted if one.count(" ") >= 3)


def docstrings(package: str) -> Iterator[str]:
    """Yield the prose paragraphs of a package's docstrings."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise BadInput(
            "package",
            package,
            "is not installed, and its docstrings are a source",
            "Install albeam[train]",
        )
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                yield from paragraphs(ast.get_docstring(node) or "")


def sources(
    data: Path, debian: Path, dice: random.Random, packages: Sequence[str]
) -> dict[str, Iterator[str]]:
    """Return the texts of every source by its name, before sampling."""

    def files(
        package: str, pattern: str, read: Callable[[Path], str], split: float
    ) -> Iterator[str]:
        found = sorted((debian / package).rglob(pattern))
        return passages((p for f in found for p in paragraphs(read(f))), dice, split=split, most=1)

    def unzip(path: Path) -> str:
        return gzip.decompress(path.read_bytes()).decode("utf-8", "replace")

    def fortune(path: Path) -> str:
        return re.sub(r"\n%\n", "\n\n", path.read_text(encoding="utf-8", errors="replace"))

    squad, text = data / "squad_train", data / "text"
    medical = column(data / "medquad/passages.parquet", "text")
    shorts = re.findall(r"^Description: (.+)$", (debian / "available.txt").read_text(), re.M)
    documented = (p for package in packages for p in docstrings(package))
    return {
        "squad_train passages": passages(
            column(squad / "passages.parquet", "text"), dice, split=0.3
        ),
        "squad_train questions": iter(column(squad / "questions.parquet", "question")),
        "medquad passages": passages(medical, dice, split=0.2, most=1),
        "medquad questions": iter(
            dict.fromkeys(column(data / "medquad/questions.parquet", "question"))
        ),
        "paragraphs": passages(column(text / "paragraphs.parquet", "text"), dice, split=0.4),
        "questions": iter(column(text / "questions.parquet", "text")),
        "stsb train": iter(
            column(data / "stsb/train.parquet", "sentence1")
            + column(data / "stsb/train.parquet", "sentence2")
        ),
        "WordNet": (
            text for path in (debian / "dict-wn").rglob("wn.dict.dz") for text in wordnet(path)
        ),
        "Python documentation": files("python3.11-doc", "*.html", plain_html, 0.4),
        "PostgreSQL manual": files("postgresql-doc-15", "*.html", plain_html, 0.4),
        "FreeBSD manual pages": files("freebsd-manpages", "*.gz", manual_page, 0.4),
        "Jargon File": files("dict-jargon", "*.dict.dz", unzip, 0.5),
        "fortunes": files("fortunes", "fortunes/*[a-z]", fortune, 0.3),
        "docstrings": passages(documented, dice, split=0.2, most=1),
        "Debian package summaries": iter(sorted(set(shorts))),
        **broad(data / "broad", dice),
    }


# The most words of a source, so that no kind of text dominates.
LIMITS = {
    "medquad passages": 900_000,
    "WordNet": 900_000,
    "Python documentation": 500_000,
    "PostgreSQL manual": 350_000,
    "FreeBSD manual pages": 200_000,
    "Jargon File": 250_000,
    "fortunes": 300_000,
    "docstrings": 400_000,
    "Debian package summaries": 120_000,
}


def collect(
    data: Path, debian: Path, seed: int, packages: Sequence[str] = DOCSTRING_PACKAGES
) -> pa.Table:
    """Collect the texts of all sources, without duplicates, shuffled with `seed`.

    Raises BadInput if a source has no texts, because the model would differ.
    """
    dice = random.Random(seed)
    rows: list[tuple[str, str]] = []
    seen: set[bytes] = set()
    for source, texts in sources(data, debian, dice, packages).items():
        found = [" ".join(text.split()) for text in texts]
        dice.shuffle(found)
        words = taken = 0
        for text in found:
            key = hashlib.blake2b(text.lower().encode(), digest_size=8).digest()
            if key in seen or not text:
                continue
            seen.add(key)
            rows.append((source, text))
            taken += 1
            words += text.count(" ") + 1
            if words > LIMITS.get(source, 10**9):
                break
        if not taken:
            raise BadInput(
                "source", source, "has no texts", f"Check the folders {data} and {debian}"
            )
        print(f"{source:28} {taken:8,} texts {words:10,} words", flush=True)
    dice.shuffle(rows)
    names, texts_ = [row[0] for row in rows], [row[1] for row in rows]
    ids = [f"t{number:07}" for number in range(len(rows))]
    return pa.table({"id": ids, "text": texts_, "source": names})


def main() -> None:
    """Read the arguments, and write the texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--debian", type=Path, required=True, help="folder of unpacked packages")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    table = collect(options.data, options.debian, options.seed)
    with writing(str(options.output)) as partial:
        pq.write_table(table, partial, compression="zstd")


if __name__ == "__main__":
    main()
