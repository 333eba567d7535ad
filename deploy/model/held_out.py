"""How well models find the passages that their fine-tuning left out, among others of the corpus.

`python -m deploy.model.held_out --pairs PASSAGES QUESTIONS NAME=FOLDER…` prints Markdown rows. It
is for choices that must not look at the data which measure the result. Run on Linux.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pipeline.training.finetune import FinetuneOptions
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.training.pairs import HELD_OUT, Pairs, held_out, read_pairs, searched


def pool_of(pairs: Pairs, kept: set[int], others: int) -> tuple[list[int], list[int]]:
    """Choose passages to search, the ``kept`` ones among them, and the questions of these."""
    questions = [n for n, answers in enumerate(pairs.relevant) if kept.intersection(answers)]
    return searched(pairs, kept, others), questions


def reciprocal_ranks(encoder: Encoder, pairs: Pairs, pool: list[int], asked: list[int]) -> float:
    """MRR@10 of questions whose passages are in the pool."""
    place = {passage: column for column, passage in enumerate(pool)}
    passages = encoder.encode_texts([pairs.passages[n] for n in pool])
    scores = encoder.encode_texts([pairs.questions[n] for n in asked]) @ passages.T
    found = []
    for row, question in zip(scores, asked, strict=True):
        answers = [place[n] for n in pairs.relevant[question] if n in place]
        rank = 1 + int((~(np.delete(row, answers) < row[answers].max())).sum())
        found.append(1 / rank if rank <= 10 else 0.0)
    return float(np.mean(found))


def main() -> None:
    """Measure the models named; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--pairs", type=Path, nargs=2, required=True)
    parser.add_argument("--others", type=int, default=3000, help="passages drawn beside them")
    parser.add_argument("--seed", type=int, default=FinetuneOptions.seed, help="of the fine-tuning")
    asked = parser.parse_args()
    pairs = read_pairs(*asked.pairs)
    pool, questions = pool_of(pairs, held_out(pairs, *HELD_OUT, asked.seed), asked.others)
    print(f"| model | MRR@10, {len(questions)} questions, {len(pool)} passages |\n| --- | ---: |")
    for name, folder in (named.split("=", 1) for named in asked.models):
        encoder = load_encoder(find_model(ModelOptions(folder)), Placement())
        print(f"| {name} | {reciprocal_ranks(encoder, pairs, pool, questions):.3f} |", flush=True)


if __name__ == "__main__":
    main()
