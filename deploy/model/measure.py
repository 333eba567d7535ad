"""Measure models and BM25 on the same data, for the table of the model card.

`python -m deploy.model.measure --data DATA NAME=FOLDER…` prints Markdown rows. Each model embeds a
corpus with `albeam embed` and is measured with `albeam evaluate`. Nothing is trained on these data.
Run on Linux.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.options import EvaluateOptions
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from transforms.encoder.encoder import load_encoder
from transforms.evaluation import questions
from transforms.evaluation.metrics import Runs, means, measure
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.search.store import Store
from transforms.tasks.metrics.correlations import spearman

SHOWN = ("mrr@10", "success@1", "success@5", "success@20")
DEPTH = 100


def retrieval(folder: str, corpus: Path, placement: Placement) -> dict[str, float]:
    """Return the metrics of `albeam evaluate` for a model on a corpus."""
    with tempfile.TemporaryDirectory(prefix="albeam-measure-") as work:
        store = f"{work}/store"
        embed.run(
            EmbedOptions(
                inputs=(str(corpus / "passages.parquet"),),
                store=store,
                model=ModelOptions(folder),
                placement=placement,
            )
        )
        opened = Store.open(store, device=placement.device, dtype=placement.dtype)
        found = evaluate(opened, EvaluateOptions(questions_of(corpus), DEPTH))
        return means(found.modes["dense"].values)


def questions_of(corpus: Path) -> str:
    """Return the file of a corpus' questions."""
    return str(corpus / "questions.parquet")


def lexical(corpus: Path) -> dict[str, float]:
    """Return the same metrics for BM25, with English stemming and stop words."""
    asked = questions.load_questions(questions_of(corpus))
    return measure(asked, lexical_runs(corpus / "passages.parquet", asked, DEPTH), DEPTH)


def lexical_runs(file: Path, asked: Sequence[questions.Question], depth: int) -> Runs:
    """Return what BM25 finds among the passages of a file, for each question."""
    import bm25s
    import Stemmer

    passages = pq.read_table(file, columns=["id", "text"]).to_pydict()
    options = {"stopwords": "en", "stemmer": Stemmer.Stemmer("english"), "show_progress": False}
    index = bm25s.BM25()
    index.index(bm25s.tokenize(passages["text"], **options), show_progress=False)
    tokens = bm25s.tokenize([one.question for one in asked], **options)
    depth = min(depth, len(passages["id"]))
    found, scores = index.retrieve(tokens, k=depth, show_progress=False)
    return {
        one.question_id: [(passages["id"][int(n)], float(s)) for n, s in zip(*line, strict=True)]
        for one, line in zip(asked, zip(found, scores, strict=True), strict=True)
    }


def similarity(folder: str, pairs: Path, placement: Placement) -> float:
    """Return the Spearman correlation of cosine and human score on a file of sentence pairs."""
    table = pq.read_table(pairs).to_pydict()
    encoder = load_encoder(find_model(ModelOptions(folder)), placement)
    first, second = (encoder.encode_texts(table[name]) for name in ("sentence1", "sentence2"))
    cosine = (first.astype(np.float64) * second).sum(axis=1)
    return spearman(cosine, table["score"])


def rows(
    models: list[tuple[str, str]], data: Path, corpora: list[str], placement: Placement
) -> Iterator[tuple[str, list[float | None]]]:
    """Yield name and figures of each model and of BM25, in the order of the table's columns."""
    for name, folder in models:
        found = [retrieval(folder, data / corpus, placement) for corpus in corpora]
        figures: list[float | None] = [one[metric] for one in found for metric in SHOWN]
        yield name, [*figures, similarity(folder, data / "stsb/dev.parquet", placement)]
    found = [lexical(data / corpus) for corpus in corpora]
    yield "BM25", [*(one[metric] for one in found for metric in SHOWN), None]


def main() -> None:
    """Measure the given models and BM25, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", default=["squad_dev"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    columns = [f"{corpus} {metric}" for corpus in options.corpora for metric in SHOWN]
    print("| model | " + " | ".join([*columns, "STS-B dev Spearman"]) + " |")
    print("| --- |" + " ---: |" * (len(columns) + 1))
    models = [tuple(named.split("=", 1)) for named in options.models]
    placement = Placement(options.device, options.dtype)
    for name, figures in rows(models, options.data, options.corpora, placement):
        cells = ["" if figure is None else f"{figure:.3f}" for figure in figures]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
