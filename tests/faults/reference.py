"""A reference that shares no code with albeam: plain transformers, brute force, loops.

``python -m tests.faults.reference`` embeds the whole of a real corpus with albeam, and compares
vectors and metrics with this reference. It takes a model folder from ALBEAM_MODEL and data from
ALBEAM_DATA (``squad_dev/passages.parquet`` and ``questions.parquet``).
"""

import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from transforms.evaluation.questions import Question
from transforms.models.options import DEFAULT_MODEL
from transforms.models.resolve import Model

_BESIDE = Path(__file__).resolve().parents[3] / "shared"


def plain_vectors(folder: str, texts: Sequence[str], max_tokens: int) -> npt.NDArray[np.float32]:
    """Mean-pooled, normalized vectors: float32, eager attention, one text at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    vectors = []
    with torch.inference_mode():
        for text in texts:
            batch = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
            states = network(input_ids=batch["input_ids"]).last_hidden_state
            vectors.append(torch.nn.functional.normalize(states.mean(1)).numpy())
    return np.concatenate(vectors)


def brute_force(
    questions: npt.NDArray[np.float32],
    passages: npt.NDArray[np.float32],
    documents: Sequence[str],
    k: int,
) -> list[list[tuple[str, float]]]:
    """For each question its best ``k`` documents and their best passages' scores."""
    ranked = []
    for scores in questions @ passages.T:
        best: dict[str, float] = {}
        for place in np.argsort(-scores, kind="stable"):
            best.setdefault(documents[place], float(scores[place]))
            if len(best) == k:
                break
        ranked.append(list(best.items()))
    return ranked


def metrics(
    questions: Sequence[Question], ranked: Sequence[Sequence[tuple[str, float]]]
) -> dict[str, float]:
    """The metrics of ``albeam evaluate`` by their definitions."""
    totals = dict.fromkeys(("success@1", "success@5", "success@20", "recall@100"), 0.0)
    totals |= {"mrr@10": 0.0, "ndcg@10": 0.0}
    for question, best in zip(questions, ranked, strict=True):
        right = [name in question.relevant for name, _ in best]
        for depth in (1, 5, 20):
            totals[f"success@{depth}"] += any(right[:depth])
        totals["recall@100"] += sum(right[:100]) / len(question.relevant)
        totals["mrr@10"] += next((1 / rank for rank, hit in enumerate(right[:10], 1) if hit), 0.0)
        ideal = sum(1 / math.log2(n + 2) for n in range(min(10, len(question.relevant))))
        gain = sum(hit / math.log2(rank + 1) for rank, hit in enumerate(right[:10], 1))
        totals["ndcg@10"] += gain / ideal
    return {name: total / len(questions) for name, total in totals.items()}


def reference_passages(
    model: Model, passages: pa.Table, questions: Sequence[Question]
) -> dict[str, float]:
    """The metrics with each document split as albeam does, vectors and ranking by this module."""
    from transforms.ingest.options import PassageOptions
    from transforms.ingest.windows import cut
    from transforms.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model)
    options = PassageOptions(model.identity.max_tokens, 32)
    texts: list[str] = []
    documents: list[str] = []
    for row in passages.to_pylist():
        for window in cut(tokenizer.encode([row["text"]])[0], row["text"], tokenizer, options):
            texts.append(row["text"][window.start : window.end])
            documents.append(row["id"])
    limit = model.identity.max_tokens
    vectors = plain_vectors(model.folder, texts, limit)
    asked = plain_vectors(model.folder, [question.question for question in questions], limit)
    return metrics(questions, brute_force(asked, vectors, documents, 100))


def main() -> int:
    """Compare on the whole corpus; 0 where all is within bounds."""
    from pipeline.evaluation.evaluate import evaluate
    from pipeline.evaluation.options import EvaluateOptions
    from pipeline.ingest.embed import run as embed
    from pipeline.ingest.options import EmbedOptions
    from pipeline.maintenance.verify import run as verify
    from transforms.evaluation.metrics import means
    from transforms.evaluation.questions import load_questions
    from transforms.models.options import ModelOptions, Placement
    from transforms.models.resolve import find_model
    from transforms.search.store import Store
    from transforms.storage.vectors import vectors_to_numpy

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    data = Path(os.environ.get("ALBEAM_DATA", _BESIDE / "data")) / "squad_dev"
    folder = os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL
    options = ModelOptions(folder)
    model = find_model(options)
    asked = load_questions(str(data / "questions.parquet"))
    ok = True
    with tempfile.TemporaryDirectory() as scratch:
        expected: dict[str, float] | None = None
        plain: npt.NDArray[np.float32] | None = None
        for dtype, least, percentile in (("float32", 0.999999, 0.999999), ("auto", 0.9995, 0.9999)):
            store = f"{scratch}/{dtype}"
            placement = Placement("auto", dtype)
            summary = embed(
                EmbedOptions((str(data / "passages.parquet"),), store, options, placement=placement)
            )
            verify(store)
            table = pa.concat_tables(Store.open(store).documents())
            texts = table["text"].to_pylist()
            if plain is None:
                plain = plain_vectors(model.folder, texts, model.identity.max_tokens)
                words = [question.question for question in asked]
                questions = plain_vectors(model.folder, words, model.identity.max_tokens)
                ranked = brute_force(questions, plain, table["document_id"].to_pylist(), 100)
                expected = metrics(asked, ranked)
            cosine = (vectors_to_numpy(table["vector"]).astype(np.float64) * plain).sum(1)
            low, first = float(cosine.min()), float(np.percentile(cosine, 1))
            print(
                f"{summary.dtype}: {len(texts):,} rows, cosine to plain transformers: "
                f"minimum {low:.7f}, first percentile {first:.7f}"
            )
            ok &= low >= least and first >= percentile
            opened = Store.open(store, dtype=dtype)
            evaluation = evaluate(opened, EvaluateOptions(str(data / "questions.parquet")))
            found = means(evaluation.modes["dense"].values)
            assert expected is not None
            for name, value in expected.items():
                print(f"  {name:<11} albeam {found[name]:.4f}  reference {value:.4f}")
                ok &= abs(found[name] - value) <= 0.002
    print("within bounds" if ok else "OUT OF BOUNDS")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
