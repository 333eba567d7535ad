"""The options of the commands that train; their defaults are those of the dataclasses."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path


def distill_arguments(sub: argparse.ArgumentParser) -> None:
    """The options of ``albeam distill``; one that is not given is left out of the result."""
    add = sub.add_argument
    left_out = argparse.SUPPRESS
    add("--teacher", type=Path, required=True, help="sentence-transformers folder of a BERT")
    add("--texts", type=Path, nargs="+", required=True, help="Parquet files with a column text")
    add("--student", default=left_out,
        help="an ALBERT to go on with, a folder or albeam-small, instead of a new one")  # fmt: skip
    add("--output", type=Path, required=True, help="folder of the finished model")
    add("--work", type=Path, help="folder of vectors and checkpoints (default: OUTPUT.work)")
    numbers = {
        "vocab-size": (int, "pieces of the vocabulary (default: 27000)"),
        "layers": (int, "layers (default: 6)"),
        "groups": (int, "groups of layers that share their weights (default: 2)"),
        "hidden": (int, "width of the vectors (default: 384)"),
        "heads": (int, "attention heads (default: 12)"),
        "intermediate": (int, "width inside the feed-forward layers (default: 768)"),
        "embedding": (int, "width of the factorized word vectors (default: 128)"),
        "positions": (int, "tokens of a text that the network could take (default: 512)"),
        "held-out": (int, "texts kept for validation (default: 2000)"),
        "max-tokens": (int, "tokens of a text at most (default: 256)"),
        "epochs": (float, "passes over the data (default: 2)"),
        "rate": (float, "highest learning rate (default: 0.002)"),
        "evaluate-every": (int, "steps between validations (default: 100)"),
    }
    _add_numbers(sub, numbers)
    _training_arguments(sub)


def finetune_arguments(sub: argparse.ArgumentParser) -> None:
    """The options of ``albeam finetune``; one that is not given is left out of the result."""
    add = sub.add_argument
    left_out = argparse.SUPPRESS
    add("--model", required=True, help="folder of the model to start from, or albeam-small")
    pairs = "Parquet files with id, text and with question, relevant; may be repeated"
    files = ("PASSAGES", "QUESTIONS")
    add("--pairs", type=Path, nargs=2, action="append", required=True, metavar=files, help=pairs)
    add("--output", type=Path, required=True, help="folder of the finished model")
    add("--work", type=Path, help="folder of checkpoints (default: OUTPUT.work)")
    add("--distilled", type=Path, default=left_out,
        help="work folder of albeam distill, whose lessons go on")  # fmt: skip
    add(
        "--negatives",
        default=left_out,
        choices=("bm25", "none"),
        help="hard negatives (default: bm25)",
    )
    numbers = {
        "max-tokens": (int, "tokens of a text that the result takes (default: the model's)"),
        "passage-tokens": (int, "tokens of a passage in training (default: --max-tokens)"),
        "passages": (int, "passages of a contrastive batch (default: 48)"),
        "neighbours": (
            int,
            "passages of a batch that BM25 takes for each other, at most (default: 4)",
        ),
        "questions": (int, "questions of a passage at most (default: 4)"),
        "temperature": (float, "of the contrastive loss (default: 0.05)"),
        "keep": (float, "weight of the distillation loss, with --distilled (default: 1)"),
        "average": (float, "share of the new weights in the result (default: 1)"),
        "epochs": (float, "passes over the data (default: 1)"),
        "rate": (float, "highest learning rate (default: 0.0003)"),
        "evaluate-every": (int, "steps between validations (default: 50)"),
    }
    _add_numbers(sub, numbers)
    _training_arguments(sub)


def _add_numbers(
    sub: argparse.ArgumentParser, numbers: Mapping[str, tuple[Callable[[str], float], str]]
) -> None:
    for name, (kind, about) in numbers.items():
        sub.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, metavar="N", help=about)


def _training_arguments(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    left_out = argparse.SUPPRESS
    numbers = {
        "batch-tokens": (int, "tokens of a batch (default: 4096)"),
        "minutes": (float, "end after so long, the schedule fitted to it (default: no bound)"),
        "seed": (int, "of order and sampling (default: 17)"),
    }
    _add_numbers(sub, numbers)
    add("--device", default=left_out, choices=("auto", "cpu", "cuda"),
        help="where to train (default: auto)")  # fmt: skip
    add("--precision", default=left_out, choices=("auto", "float32", "bfloat16"),
        help="of the forward and backward pass (default: auto)")  # fmt: skip
    add("--resume", action="store_true", help="go on from the last checkpoint")
