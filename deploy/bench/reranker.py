"""Train a reranker on SQuAD's training questions, and measure what it adds to a hybrid search.

``python -m deploy.bench.reranker --data FOLDER --work WORK --minutes 20`` trains from albeam-small
with hard negatives, then asks a sample of the dev questions: hybrid search, and the best documents
reranked. It prints MRR@10 before and after, and the milliseconds that reranking adds to a question.
``--work`` keeps stores and model, so that a second run resumes the training or measures what is
there. ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bench.resuming import continued
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.training.finetune_rerank import finetune_rerank
from pipeline.training.rerank_options import RERANK_NEGATIVES, RerankOptions
from pipeline.training.result import TrainingResult
from transforms.evaluation.metrics import by_question
from transforms.evaluation.questions import Question, load_questions
from transforms.evaluation.significance import differences
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import find_folder
from transforms.search.reranker import Reranker, rerank
from transforms.search.store import Store

SHOWN = ("mrr@10", "success@1", "ndcg@10")
DEPTH = 100


def embedded(corpus: Path, work: Path) -> str:
    """Embed the passages of a corpus, with a lexical index, unless that was done before."""
    store = str(work / f"{corpus.name}-store")
    passages = str(corpus / "passages.parquet")
    embed.run(EmbedOptions((passages,), store, ModelOptions(DEFAULT_MODEL)))
    return store


def training(given: argparse.Namespace) -> RerankOptions:
    """Return the options of the training."""
    corpus, output = given.data / "squad_train", given.work / "reranker"
    work = given.work / "reranker.work"
    return RerankOptions(
        model=Path(given.model or find_folder(ModelOptions(DEFAULT_MODEL))[0]),
        pairs=((corpus / "passages.parquet", corpus / "questions.parquet"),),
        output=output,
        work=work,
        store=embedded(corpus, given.work) if given.negatives == "store" else None,
        negatives=given.negatives,
        epochs=100.0,
        minutes=given.minutes,
        passage_tokens=given.passage_tokens,
        held_out=given.held_out,
        evaluate_every=given.evaluate_every,
        patience=10**6,
    )


def measure(store: Store, asked: list[Question], model: Reranker, depth: int) -> dict[str, Any]:
    """Ask each question alone; return the metrics of both orders, and the time of reranking."""
    found = store.search([each.question for each in asked], max(DEPTH, depth), mode="hybrid")
    before, after, wall, cpu = {}, {}, [], []
    rerank(found[0][:depth], asked[0].question, model)  # the first call is slower
    for question, hits in zip(asked, found, strict=True):
        started, spent = time.perf_counter(), time.process_time()
        ordered = rerank(hits[:depth], question.question, model)
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.process_time() - spent))
        name = question.question_id
        before[name] = [(hit.document_id, hit.score) for hit in hits]
        after[name] = [(hit.document_id, float(-hit.rank)) for hit in ordered]
    values = [by_question(asked, runs, DEPTH) for runs in (before, after)]
    kept = [{name: each[name] for name in SHOWN} for each in values]
    return {
        "questions": len(asked),
        "reranked": depth,
        "metrics": {name: asdict(each) for name, each in differences(*kept).items()},
        "milliseconds": {"p50": float(np.median(wall)), "processor": float(np.mean(cpu))},
    }


def _trained(options: RerankOptions) -> TrainingResult:
    return finetune_rerank(continued(options), lambda line: print(line, flush=True))


def main() -> None:
    """Train, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", help="folder of a model to start from instead of albeam-small")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--negatives", choices=RERANK_NEGATIVES, default="bm25")
    parser.add_argument("--passage-tokens", type=int, default=128, help="in training")
    parser.add_argument("--held-out", type=int, default=50, help="questions of an evaluation")
    parser.add_argument("--evaluate-every", type=int, default=500)
    parser.add_argument("--questions", type=int, default=500, help="of the sample")
    parser.add_argument("--rerank", type=int, default=30)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    options = training(given)
    found: dict[str, Any] = {}
    if not options.output.exists():
        found["training"] = asdict(_trained(options))
    corpus = given.data / "squad_dev"
    store = Store.open(embedded(corpus, given.work))
    every = load_questions(str(corpus / "questions.parquet"))
    drawn = np.random.default_rng(0).permutation(len(every))[: given.questions]
    model = Reranker(str(options.output), Placement(dtype=given.dtype))
    found |= measure(store, [every[place] for place in sorted(drawn)], model, given.rerank)
    for name, each in found["metrics"].items():
        gain, low, high = (each["b"] - each["a"], each["low"], each["high"])
        print(f"{name}: hybrid {each['a']:.4f}, reranked {each['b']:.4f}", end="")
        print(f" ({gain:+.4f}, 95 % interval {low:+.4f} to {high:+.4f})")
    times = found["milliseconds"]
    print(
        f"{given.rerank} documents: {times['p50']:.0f} ms more a question, "
        f"{times['processor']:.0f} ms of processor time"
    )
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
