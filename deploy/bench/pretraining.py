"""Which optimizer learns most in a pretraining: Muon with AdamW, AdamW alone, or LAMB.

``python -m deploy.bench.pretraining TEXTS.parquet… --seconds 100`` trains the same small ALBERT on
the same batches with each optimizer and rate, for the same processor time, and prints a table of
what the held-out texts give. Processor time is what a busy machine distorts least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.training.work_folder import read_texts
from transforms.models.options import Placement
from transforms.training.initialization import albert_config
from transforms.training.masking import MaskingRules
from transforms.training.optimizers import Optimizers, Schedule, group_parameters
from transforms.training.options import StudentShape
from transforms.training.pretraining import PretrainingNetwork, PretrainingObjective
from transforms.training.pretraining_data import PretrainingData, unigram_accuracy
from transforms.training.segment_pairs import tokenize_documents
from transforms.training.vocabulary import albert_tokenizer, train_vocabulary

_SHAPE = StudentShape(
    4_000, layers=3, groups=1, hidden=128, heads=4, intermediate=512, embedding=64, positions=128
)
_MAX_TOKENS, _BATCH_TOKENS, _HELD_OUT, _DECAY = 128, 2048, 300, 0.01


class Lamb(torch.optim.Optimizer):
    """LAMB (You et al., 2019): Adam's step, scaled to the norm of each weight."""

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["step"] = 0
                    state["mean"] = torch.zeros_like(weight)
                    state["square"] = torch.zeros_like(weight)
                state["step"] += 1
                state["mean"].lerp_(weight.grad, 0.1)
                state["square"].lerp_(weight.grad.square(), 0.001)
                mean = state["mean"] / (1 - 0.9 ** state["step"])
                square = state["square"] / (1 - 0.999 ** state["step"])
                update = mean / (square.sqrt() + 1e-6) + group["weight_decay"] * weight
                trust = 1.0
                # As in ALBERT's code, biases and norms take Adam's step.
                if group["weight_decay"]:
                    norms = weight.norm(), update.norm()
                    trust = float(norms[0] / norms[1]) if all(norms) else 1.0
                weight.sub_(update, alpha=group["lr"] * trust)


def _muon(model: torch.nn.Module, rate: float) -> Optimizers:
    return Optimizers.for_model(model, rate, _DECAY)


def _groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    layers, matrices, rest = group_parameters(model)
    decayed = [*layers, *matrices, *(weight for weight in rest if weight.ndim > 1)]
    others = [weight for weight in rest if weight.ndim < 2]
    return [{"params": decayed, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]


def _adamw(model: torch.nn.Module, rate: float) -> Optimizers:
    return Optimizers([torch.optim.AdamW(_groups(model), lr=rate, fused=True)], rate)


def _lamb(model: torch.nn.Module, rate: float) -> Optimizers:
    return Optimizers([Lamb(_groups(model), rate)], rate)


@dataclass(frozen=True)
class Arm:
    """One training of the comparison: an optimizer, its rate, the range of the first weights."""

    name: str
    optimizer: Callable[[torch.nn.Module, float], Optimizers]
    rate: float
    spread: float = 0.02


ARMS = (
    Arm("muon and adamw", _muon, 2e-3),
    Arm("adamw", _adamw, 2e-3),
    Arm("lamb", _lamb, 1e-2),
    Arm("muon and adamw", _muon, 5e-3),
    Arm("adamw", _adamw, 5e-3),
    Arm("lamb", _lamb, 3e-2),
    Arm("muon and adamw", _muon, 5e-3, 0.06),
)


def make_data(texts: list[str]) -> PretrainingData:
    """Train a vocabulary on texts, and return the batches of a pretraining."""
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
    optimizers = arm.optimizer(network.model, arm.rate)
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
            f"| {arm.name} | {arm.rate:g} | {arm.spread:g} | {found['steps']:.0f} | {shown} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
