"""Measure heads on real data: what they reach, how long they take, and how fast they predict.

`python -m deploy.bench.tasks --data FOLDER` embeds BANKING77, fits a head on the stored vectors,
measures it on the test texts, and fits scikit-learn by hand on the same vectors. It then predicts
many short texts in bulk, beside a bare loop over the same encoder and transformers' pipeline. The
exit code is 1 if a target is missed; ``--json FILE`` writes the figures. Run on Linux.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deploy.bench.targets import Target, finish
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.tasks import classify, evaluate_task, predict
from pipeline.tasks.options import ClassifyOptions, EvaluateTaskOptions, PredictOptions
from transforms.catalog.snapshot import read_snapshot
from transforms.encoder.encoder import load_encoder
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.storage import filesystem
from transforms.tasks.prediction.documents import stored_documents
from transforms.tasks.vector_heads.head_files import read_head

#: The least value of a figure, or the most.
LEAST = {
    "accuracy": 0.92,
    "share_of_bare_loop": 0.95,
    "times_pipeline": 2.0,
}
MOST = {"fit_seconds": 60.0, "difference_to_scikit_learn": 0.002}
_BATCH = 32


def measure_head(data: Path, model: str, work: Path) -> dict[str, Any]:
    """Return what a head on stored vectors reaches on BANKING77, and scikit-learn by hand."""
    found: dict[str, Any] = {}
    for split in ("train", "test"):
        table = pq.read_table(data / "banking77" / f"{split}.parquet")
        table = table.append_column("id", pa.array([f"{split}-{n}" for n in range(len(table))]))
        pq.write_table(table, work / f"{split}.parquet")
        options = EmbedOptions(
            (str(work / f"{split}.parquet"),),
            str(work / f"{split}-store"),
            ModelOptions(model),
            index=IndexOptions("none"),
            lexical=LexicalOptions("none"),
        )
        found[f"embed_{split}_seconds"] = embed.run(options).seconds
    head = str(work / "head")
    before = time.process_time()
    fitted = classify.run(
        ClassifyOptions(str(work / "train-store"), (work / "train.parquet",), head)
    )
    processor = time.process_time() - before
    measured = evaluate_task.run(
        EvaluateTaskOptions(head, (work / "test.parquet",), store=str(work / "test-store"))
    )
    by_hand = _by_hand(work, fitted.strength)
    accuracy = measured.metrics.values["accuracy"]
    return found | {
        "fit_seconds": fitted.fit_seconds,
        "fit_processor_seconds": processor,
        "strength": fitted.strength,
        "accuracy": accuracy,
        "interval": measured.metrics.intervals["accuracy"],
        "macro_f1": measured.metrics.values["macro_f1"],
        "calibration_error": measured.metrics.values["calibration_error"],
        "scikit_learn_accuracy": by_hand,
        "difference_to_scikit_learn": abs(accuracy - by_hand),
    }


def _by_hand(work: Path, strength: float) -> float:
    """Return the accuracy of a plain `LogisticRegression` on the same vectors."""
    from sklearn.linear_model import LogisticRegression

    sides = []
    for split in ("train", "test"):
        table = pq.read_table(work / f"{split}.parquet")
        store = filesystem.absolute(str(work / f"{split}-store"))
        documents = stored_documents(store, read_snapshot(store), table.column("id"))
        sides.append(
            (documents.vectors, np.array(table.column("label").to_pylist())[documents.rows])
        )
    (vectors, labels), (others, right) = sides
    plain = LogisticRegression(C=strength, max_iter=5_000, tol=1e-5)
    return float(plain.fit(vectors.astype(np.float64), labels).score(others, right))


def measure_bulk(data: Path, model: str, work: Path, count: int, compared: int) -> dict[str, Any]:
    """Return the documents a second of `albeam predict`, of a bare loop, and of a pipeline.

    Args:
        data: the folder of corpora.
        model: the encoder.
        work: a folder with the head that `measure_head` wrote.
        count: how many short texts are predicted; they are repeated if there are fewer.
        compared: how many of them the pipeline predicts.
    """
    texts = pq.read_table(data / "text" / "questions.parquet").column("text").to_pylist()
    texts = (texts * (count // len(texts) + 1))[:count]
    ids = [str(number) for number in range(count)]
    pq.write_table(pa.table({"id": ids, "text": texts}), work / "bulk.parquet")
    head = read_head(str(work / "head"))
    encoder = load_encoder(find_model(ModelOptions(model)), Placement())
    started = time.perf_counter()
    head.scores(encoder.encode_texts(texts, head.encoder.passage_prompt))
    bare = time.perf_counter() - started
    done = predict.run(
        PredictOptions(
            str(work / "head"), (str(work / "bulk.parquet"),), output=str(work / "predictions")
        )
    )
    pipeline = _pipeline_rate(model, texts[:compared])
    return {
        "texts": count,
        "predict_rate": count / done.seconds,
        "bare_rate": count / bare,
        "pipeline_rate": pipeline,
        "share_of_bare_loop": bare / done.seconds,
        "times_pipeline": count / done.seconds / pipeline,
    }


def _pipeline_rate(model: str, texts: list[str]) -> float:
    """Return the texts a second of transformers' feature extraction with padded batches."""
    from transformers import pipeline

    folder = find_model(ModelOptions(model)).folder
    extract = pipeline("feature-extraction", model=folder, tokenizer=folder, device="cpu")
    extract(texts[:_BATCH], batch_size=_BATCH)
    started = time.perf_counter()
    for states in extract(texts, batch_size=_BATCH, return_tensors=True):
        states[0].mean(dim=0)
    return len(texts) / (time.perf_counter() - started)


def targets_of(found: dict[str, Any]) -> list[Target]:
    """Return the targets of what was measured."""
    bounds = [(name, bound, True) for name, bound in LEAST.items()]
    bounds += [(name, bound, False) for name, bound in MOST.items()]
    return [
        Target(name, bound, found[name], least) for name, bound, least in bounds if name in found
    ]


def main() -> int:
    """Read the arguments, measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("ALBEAM_DATA") or "../shared/data")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--texts", type=int, default=100_000, help="0 leaves out bulk prediction")
    parser.add_argument("--compared", type=int, default=5_000, help="texts for the pipeline")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="albeam-") as folder:
        data, work = Path(options.data), Path(folder)
        found = measure_head(data, options.model, work)
        if options.texts:
            found |= measure_bulk(data, options.model, work, options.texts, options.compared)
    print("| figure | value |")
    print("| --- | ---: |")
    for name, value in found.items():
        shown = ", ".join(f"{v:,.4f}" for v in np.atleast_1d(value))
        print(f"| {name} | {shown} |")
    return finish(found, targets_of(found), options.json)


if __name__ == "__main__":
    raise SystemExit(main())
