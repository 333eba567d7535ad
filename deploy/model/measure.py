"""The model card's table: retrieval and similarity of several models on the same data.

`python deploy/model/measure.py --data DATA NAME=FOLDER…` prints Markdown rows. The data are used
for measuring only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]


def encode(model: SentenceTransformer, texts: list[str]) -> Vectors:
    """Encode texts: unit vectors, float32 [texts, dim]."""
    return (
        model.encode(texts, batch_size=32, normalize_embeddings=True, convert_to_tensor=True)
        .float()
        .cpu()
        .numpy()
    )


def retrieval(model: SentenceTransformer, folder: Path, most: int | None) -> dict[str, float]:
    """Rank all passages for each question by cosine: MRR@10, success at 1, 5 and 20."""
    passages = pq.read_table(folder / "passages.parquet", columns=["id", "text"]).to_pydict()
    asked = pq.read_table(folder / "questions.parquet", columns=["question", "relevant"])
    rows = asked.to_pylist()
    if most is not None and len(rows) > most:
        chosen = np.random.default_rng(0).permutation(len(rows))[:most]
        rows = [rows[int(i)] for i in chosen]
    place = {name: number for number, name in enumerate(passages["id"])}
    found = encode(model, passages["text"])
    questions = encode(model, [row["question"] for row in rows])
    ranks = np.empty(len(rows))
    for start in range(0, len(rows), 1000):
        scores = questions[start : start + 1000] @ found.T
        for offset, row in enumerate(rows[start : start + 1000]):
            top = max(scores[offset, place[name]] for name in row["relevant"])
            ranks[start + offset] = 1 + int((scores[offset] > top).sum())
    return {
        "MRR@10": float(np.where(ranks <= 10, 1 / ranks, 0).mean()),
        **{f"success@{k}": float((ranks <= k).mean()) for k in (1, 5, 20)},
    }


def spearman(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    """Correlate ranks, ties sharing their mean rank."""

    def ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        return ((last - counts + 1 + last) / 2)[inverse]

    return float(np.corrcoef(ranks(left), ranks(right))[0, 1])


def similarity(model: SentenceTransformer, path: Path) -> float:
    """Spearman correlation of cosine and human score on a file of sentence pairs."""
    table = pq.read_table(path).to_pydict()
    first, second = encode(model, table["sentence1"]), encode(model, table["sentence2"])
    cosine = (first * second).sum(axis=1).astype(np.float64)
    return spearman(cosine, np.asarray(table["score"], dtype=np.float64))


def main() -> None:
    """Measure the models named and print a table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--retrieval", nargs="+", default=["squad_dev"])
    parser.add_argument("--most", type=int, help="questions of a corpus at most")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    options = parser.parse_args()
    rows = []
    for named in options.models:
        name, _, folder = named.partition("=")
        model = SentenceTransformer(
            folder, device=options.device, model_kwargs={"dtype": options.dtype}
        )
        model.max_seq_length = 256
        row: dict[str, float] = {}
        for corpus in options.retrieval:
            found = retrieval(model, options.data / corpus, options.most)
            row |= {f"{corpus} {key}": value for key, value in found.items()}
        row["STS-B dev"] = similarity(model, options.data / "stsb/dev.parquet")
        if options.json:
            print(json.dumps({"model": name, **row}), flush=True)
        rows.append((name, row))
    if not options.json:
        print("| model | " + " | ".join(rows[0][1]) + " |")
        print("| --- |" + " ---: |" * len(rows[0][1]))
        for name, row in rows:
            print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
