"""Compare int8 with float32 and bfloat16: speed by turns, nDCG@10, and cosines to float32.

`python -m deploy.bench.int8 --corpus FOLDER --models M…` embeds the passages of a corpus and a
sample of its questions with each dtype, and ranks all passages. Speed is counted in seconds of this
process's processor time, of one thread, without tokenization; turns alternate. ``--shape-only``
skips the quality of a model with random weights. ``--json FILE`` writes the figures. The exit code
is 1 if a target is missed.
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from transforms.encoder.encoder import Encoder, load_encoder
from transforms.evaluation.metrics import measure
from transforms.evaluation.questions import Question, load_questions
from transforms.models.options import DEFAULT_MODEL, ModelOptions, Placement
from transforms.models.resolve import find_model

DTYPES = ("float32", "bfloat16", "int8")
#: The most that int8 may lose of nDCG@10, and its least cosine to float32 at the first percentile.
_MOST_LOSS, _LEAST_COSINE = 0.003, 0.99
_DEPTH = 10


def quality(
    encoders: dict[str, Encoder], corpus: Path, asked: list[Question]
) -> dict[str, dict[str, float]]:
    """Return nDCG@10 and the first percentile of the cosines to float32, for each dtype."""
    passages = pq.read_table(corpus / "passages.parquet", columns=["id", "text"]).to_pydict()
    texts = [question.question for question in asked]
    found: dict[str, dict[str, float]] = {}
    exact: npt.NDArray[np.float32] | None = None
    for dtype, encoder in encoders.items():
        vectors = encoder.encode_texts(passages["text"], encoder.identity.passage_prompt)
        questions = encoder.encode_texts(texts, encoder.identity.query_prompt)
        scores = questions @ vectors.T
        runs = {
            question.question_id: [
                (passages["id"][place], float(row[place]))
                for place in np.argsort(-row, kind="stable")[:_DEPTH]
            ]
            for question, row in zip(asked, scores, strict=True)
        }
        exact = vectors if exact is None else exact
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(exact, axis=1)
        cosines = (vectors * exact).sum(1) / lengths
        found[dtype] = {
            "ndcg@10": measure(asked, runs, _DEPTH)["ndcg@10"],
            "cosine_p1": float(np.percentile(cosines, 1)),
            "least_cosine": float(cosines.min()),
        }
    return found


def speed(
    encoders: dict[str, Encoder], texts: list[str], turns: int
) -> dict[str, dict[str, float]]:
    """Return tokens per second of processor time, and its ratio to bfloat16, for each dtype."""
    some = next(iter(encoders.values()))
    ids = some.tokenizer.encode_framed(texts, some.identity.max_tokens)
    tokens, count = pa.array(ids, pa.list_(pa.int32())), sum(map(len, ids))
    taken: dict[str, list[float]] = {dtype: [] for dtype in encoders}
    for turn in range(turns + 1):
        for dtype, encoder in encoders.items():
            started = time.process_time()
            encoder.encode(tokens)
            # The first turn makes oneDNN generate its code.
            if turn:
                taken[dtype].append(time.process_time() - started)
    return {
        dtype: {
            "tokens_per_second": count / float(np.median(seconds)),
            "ratio_to_bfloat16": float(np.median(np.divide(taken["bfloat16"], seconds))),
        }
        for dtype, seconds in taken.items()
    }


def misses(found: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Return a line for each target of quality that is missed."""
    lines = []
    for model, dtypes in found.items():
        if "ndcg@10" not in dtypes["int8"]:
            continue
        loss = dtypes["float32"]["ndcg@10"] - dtypes["int8"]["ndcg@10"]
        if loss > _MOST_LOSS:
            lines.append(f"{model}: int8 loses {loss:.4f} of nDCG@10, more than {_MOST_LOSS}")
        if (cosine := dtypes["int8"]["cosine_p1"]) < _LEAST_COSINE:
            lines.append(f"{model}: cosine {cosine:.4f} at the first percentile")
    return lines


def main() -> int:
    """Read the arguments, measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL])
    parser.add_argument("--shape-only", nargs="*", default=[], metavar="MODEL")
    parser.add_argument("--sample", type=int, default=2_000, help="questions")
    parser.add_argument("--texts", type=int, default=200, help="passages to time")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(options.seed)
    asked = load_questions(str(options.corpus / "questions.parquet"))
    asked = chance.sample(asked, min(options.sample, len(asked)))
    texts = pq.read_table(options.corpus / "passages.parquet", columns=["text"])["text"].to_pylist()
    texts = chance.sample(texts, min(options.texts, len(texts)))
    found: dict[str, Any] = {}
    for name in [*options.models, *options.shape_only]:
        model = find_model(ModelOptions(name))
        encoders = {dtype: load_encoder(model, Placement("cpu", dtype)) for dtype in DTYPES}
        rows = speed(encoders, texts, options.turns)
        if name not in options.shape_only:
            rates = quality(encoders, options.corpus, asked)
            rows = {dtype: row | rates[dtype] for dtype, row in rows.items()}
        found[name] = rows
        for dtype, row in rows.items():
            cells = ", ".join(f"{key} {value:.4g}" for key, value in row.items())
            print(f"{name} {dtype}: {cells}", flush=True)
    for line in misses(found):
        print(f"missed: {line}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    return int(bool(misses(found)))


if __name__ == "__main__":
    raise SystemExit(main())
