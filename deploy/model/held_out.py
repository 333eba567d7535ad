"""Measure how well models find the passages that their fine-tuning held out.

`python -m deploy.model.held_out --pairs PASSAGES QUESTIONS NAME=FOLDER…` prints Markdown rows. Use
it for choices that must not depend on the data that measure the final result. Run on Linux.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pipeline.training.options import FinetuneOptions
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.training.pairs import HELD_OUT, Pairs, draw_held_out, read_pairs, validation_pool


def pool_of(pairs: Pairs, held_out: set[int], distractors: int) -> tuple[list[int], list[int]]:
    """Return the passages to search and the questions that the held-out ones answer."""
    questions = [n for n, answers in enumerate(pairs.relevant) if held_out.intersection(answers)]
    return validation_pool(pairs, held_out, distractors), questions


def reciprocal_ranks(encoder: Encoder, pairs: Pairs, pool: list[int], asked: list[int]) -> float:
    """Return the MRR@10 of questions that passages of the pool answer."""
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
    """Measure the given models, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--pairs", type=Path, nargs=2, required=True)
    parser.add_argument("--others", type=int, default=3000, help="other passages to search")
    parser.add_argument("--seed", type=int, default=FinetuneOptions.seed, help="of the fine-tuning")
    asked = parser.parse_args()
    pairs = read_pairs(*asked.pairs)
    pool, questions = pool_of(pairs, draw_held_out(pairs, *HELD_OUT, asked.seed), asked.others)
    print(f"| model | MRR@10, {len(questions)} questions, {len(pool)} passages |\n| --- | ---: |")
    for name, folder in (named.split("=", 1) for named in asked.models):
        encoder = load_encoder(find_model(ModelOptions(folder)), Placement())
        print(f"| {name} | {reciprocal_ranks(encoder, pairs, pool, questions):.3f} |", flush=True)


if __name__ == "__main__":
    main()
