"""Which optimizer and which range of first weights learn most in a pretraining.

``python -m deploy.bench.pretraining TEXTS.parquet… --seconds 100`` trains the same small ALBERT on
the same batches with each optimizer and rate, for the same processor time, and prints a table of
what the held-out texts give. Processor time is what a busy machine distorts least.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.training.work_folder import read_texts
from transforms.models.options import Placement
from transforms.training.initialization import albert_config
from transforms.training.masking import MaskingRules
from transforms.training.optimizers import Optimizers, Schedule
from transforms.training.options import StudentShape
from transforms.training.pretraining import PretrainingNetwork, PretrainingObjective
from transforms.training.pretraining_data import PretrainingData, unigram_accuracy
from transforms.training.segment_pairs import tokenize_documents
from transforms.training.vocabulary import albert_tokenizer, train_vocabulary

_SHAPE = StudentShape(
    4_000, layers=3, groups=1, hidden=128, heads=4, intermediate=512, embedding=64, positions=128
)
_MAX_TOKENS, _BATCH_TOKENS, _HELD_OUT, _DECAY = 128, 2048, 300, 0.01


@dataclass(frozen=True)
class Arm:
    """One training of the comparison.

    Attributes:
        optimizer: what steps the matrices of layers.
        rate: the highest learning rate.
        spread: the standard deviation of the first weights.
    """

    optimizer: str
    rate: float
    spread: float = 0.02


ARMS = (
    Arm("muon", 2e-3),
    Arm("adamw", 2e-3),
    Arm("muon", 5e-3),
    Arm("adamw", 5e-3),
    Arm("muon", 2e-3, 0.06),
    Arm("muon", 5e-3, 0.06),
)


def make_data(texts: list[str]) -> PretrainingData:
    """Train a vocabulary on texts, and return the batches of a pretraining."""
    random.Random(17).shuffle(texts)
    tokenizer = albert_tokenizer(train_vocabulary(texts, _SHAPE.vocab_size), _MAX_TOKENS)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special, mask = tokenizer.all_special_ids, int(tokenizer.mask_token_id or 0)
    rules = MaskingRules.of("ngram", pieces, special, mask)
    longest = (_MAX_TOKENS - 3) // 2
    documents = tokenize_documents(tokenizer, texts, rules.word_starts, longest)
    frame = (int(tokenizer.cls_token_id or 0), int(tokenizer.sep_token_id or 0))
    train = len(texts) - _HELD_OUT
    return PretrainingData(documents, train, "sop", rules, frame, _MAX_TOKENS, _BATCH_TOKENS, 17)


def train(arm: Arm, data: PretrainingData, seconds: float) -> dict[str, float]:
    """Train for some processor time; return the metrics of the held-out texts, and the steps."""
    config = albert_config(_SHAPE)
    config.initializer_range = arm.spread
    network = PretrainingNetwork(config, Placement("cpu", "float32"), counts=data.counts(), seed=17)
    objective = PretrainingObjective(network, "sop")
    optimizers = Optimizers.for_model(network.model, arm.rate, _DECAY, arm.optimizer)
    schedule = Schedule(1, arm.rate)
    held_out = data.held_out()
    steps, began = 0, time.process_time()
    for batch in data.batches(0):
        progress = (time.process_time() - began) / seconds
        if progress >= 1:
            break
        objective.loss(batch)[0].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.model.parameters(), 1.0)
        optimizers.step(schedule.factor(progress))
        steps += 1
    with torch.inference_mode():
        return {"steps": steps, **objective.evaluate(held_out)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+", type=Path, help="Parquet files with a column text")
    parser.add_argument("--seconds", type=float, default=100.0, help="processor time of each arm")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = make_data(read_texts(arguments.texts))
    guess = unigram_accuracy(data.held_out(), data.counts())
    print(f"the most frequent piece is {guess:.3f} of the masked tokens")
    print("| optimizer | rate | range | steps | masked accuracy | perplexity | order accuracy |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for arm in ARMS:
        found = train(arm, data, arguments.seconds)
        figures = (found["masked_accuracy"], found["perplexity"], found["order_accuracy"])
        shown = " | ".join(f"{figure:.3f}" for figure in figures)
        print(
            f"| {arm.optimizer} | {arm.rate:g} | {arm.spread:g} | {found['steps']:.0f} | {shown} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
