"""Measure how well questions of real corpora are found, and answered, beside other systems.

`python -m deploy.bench.answers --data FOLDER --work FOLDER` embeds each corpus with each model, and
asks the questions by vectors, by words, by both, and with a reranker; bm25s is asked the same. Then
a reader answers: from the right paragraph, and from a store. It prints a Markdown table with 95 %
intervals and paired tests against MiniLM. What was measured stays in ``--work``, so that a second
call goes on. What is not there is skipped, and named. The exit code is 1 if a target is missed, and
2 if none is missed but some were not measured. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from deploy.bench.answers.corpora import CORPORA, load_corpus
from deploy.bench.answers.reading import (
    answer_from_store,
    read_right_passages,
    read_unanswerable,
)
from deploy.bench.answers.report import as_json, reading_table, retrieval_table
from deploy.bench.answers.retrieval import (
    BM25,
    Measured,
    code_digest,
    embedded,
    measure_bm25,
    measure_model,
)
from deploy.bench.answers.targets import (
    E5,
    MINILM,
    OPEN,
    OPEN_RERANKED,
    RIGHT,
    SMALL,
    UNANSWERABLE,
    targets,
)
from deploy.model.measure import similarity
from transforms.errors import BadInput
from transforms.models.file_digests import hash_files, weights_files
from transforms.models.options import (
    DEFAULT_MODEL,
    DEFAULT_READER,
    DEFAULT_RERANKER,
    ModelOptions,
    Placement,
)
from transforms.models.resolve import find_folder
from transforms.models.shipped import is_there
from transforms.runtime.extras import is_installed
from transforms.search.reader import Reader
from transforms.search.reranker import Reranker


def main() -> int:
    """Read the arguments, measure and print; return 1 or 2 as the module says."""
    given = parse()
    given.work.mkdir(parents=True, exist_ok=True)
    (given.work / "stores").mkdir(exist_ok=True)
    skipped: list[str] = []
    models = {SMALL: given.model, MINILM: given.minilm, E5: given.e5}
    for name, option in ((MINILM, "--minilm"), (E5, "--e5")):
        if models[name] is None:
            skipped.append(f"{name}: give its folder with {option}")
    reader = chosen(given.reader, DEFAULT_READER, "--reader", skipped)
    ranker = chosen(given.reranker, DEFAULT_RERANKER, "--reranker", skipped)
    ours = {name: model for name, model in models.items() if model is not None}
    found = retrieve(given, ours, ranker, skipped)
    similar = similarities(given.data, ours, skipped)
    read = {} if reader is None else answers(given, reader, ranker, skipped)
    print(retrieval_table(found))
    for name, value in similar.items():
        print(f"STS-B dev, Spearman of {name}: {value:.4f}")
    if read:
        print(reading_table(read))
    met = targets(found, similar, read)
    for line in (*map(str, met), *(f"skipped: {each}" for each in skipped)):
        print(line)
    if given.json is not None:
        content = as_json(found, similar, read, met, skipped)
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if any(each.missed for each in met):
        return 1
    return 2 if any(each.reached is None for each in met) else 0


def parse() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("ALBEAM_DATA") or "../shared/data"
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--work", type=Path, required=True, help="folder of stores and results")
    parser.add_argument("--corpora", nargs="+", default=CORPORA, metavar="NAME")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"measured as {SMALL}")
    parser.add_argument("--minilm", metavar="FOLDER", help="all-MiniLM-L6-v2")
    parser.add_argument("--e5", metavar="FOLDER", help="multilingual-e5-small")
    parser.add_argument("--reader", metavar="FOLDER", help=f"default: {DEFAULT_READER}")
    parser.add_argument("--reranker", metavar="FOLDER", help=f"default: {DEFAULT_RERANKER}")
    parser.add_argument("--questions", type=int, default=2_000, help="of each corpus, drawn")
    parser.add_argument("--reranked", type=int, default=500, help="questions that are reranked")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def chosen(given: str | None, default: str, option: str, skipped: list[str]) -> str | None:
    """Return the model that was given, or the one that comes with albeam, if it is there."""
    if given is None and not is_there(default):
        skipped.append(f"{default}: give its folder with {option}")
        return None
    return given or default


def retrieve(
    given: argparse.Namespace, models: dict[str, str], ranker: str | None, skipped: list[str]
) -> dict[str, dict[str, Measured]]:
    """Return what each system reaches on each corpus; say which, as they are done."""
    load = None if ranker is None else cache(lambda: Reranker(ranker, Placement()))
    has_bm25 = is_installed("bm25s") and is_installed("Stemmer")
    if not has_bm25:
        skipped.append(f"{BM25}: pip install bm25s PyStemmer")
    found: dict[str, dict[str, Measured]] = {}
    for name in given.corpora:
        try:
            corpus = load_corpus(given.data, name, given.questions)
        except BadInput as error:
            skipped.append(str(error))
            continue
        found[name] = {}
        if has_bm25:
            found[name][BM25] = measure_bm25(corpus, given.work)
        for system, model in models.items():
            tell(f"{name}: {system}")
            asked = (corpus, system, model, given.work, load, given.reranked)
            found[name][system] = measure_model(*asked)
    return found


def similarities(data: Path, models: dict[str, str], skipped: list[str]) -> dict[str, float]:
    """Return the correlation on STS-B's development pairs of each model."""
    pairs = data / "stsb" / "dev.parquet"
    if not pairs.exists():
        skipped.append(f"STS-B: {pairs} is not there")
        return {}
    return {name: similarity(model, pairs, Placement()) for name, model in models.items()}


def answers(
    given: argparse.Namespace, name: str, ranker: str | None, skipped: list[str]
) -> dict[str, dict[str, Any]]:
    """Return what a reader reaches, part by part; what it reached before is not read again."""
    reader = Reader(name, Placement())
    squad = load_corpus(given.data, "squad_dev", given.questions)
    weights = hash_files(weights_files(find_folder(ModelOptions(given.model))[0]))

    def open_domain(reranker: str | None) -> dict[str, Any]:
        store, _ = embedded(squad, SMALL, given.model, given.work, weights)
        return answer_from_store(store, squad, name, reranker)

    parts: Mapping[str, Callable[[], dict[str, Any]]] = {
        RIGHT: lambda: read_right_passages(reader, squad),
        UNANSWERABLE: lambda: read_unanswerable(reader, given.data, given.questions),
        OPEN: lambda: open_domain(None),
        OPEN_RERANKED: lambda: open_domain(ranker),
    }
    digest = hash_files(weights_files(reader.folder))
    key = f"{digest} {reader.scales} {ranker} {weights} {squad.fingerprint} {code_digest()}"
    file = given.work / "reading.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    found = known["parts"] if known.get("key") == key else {}
    for part, measure in parts.items():
        if part == OPEN_RERANKED and ranker is None:
            skipped.append(f"{part}: needs a reranker")
            continue
        if part not in found:
            tell(part)
            found[part] = measure()
            file.write_text(json.dumps({"key": key, "parts": found}))
    return found


def tell(line: str) -> None:
    """Say what is measured now."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
