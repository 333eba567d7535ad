"""The options of the commands that train; their defaults are those of the dataclasses."""

import argparse
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
    sizes = {
        "vocab-size": "pieces of the vocabulary",
        "layers": "layers",
        "groups": "groups of layers that share their weights",
        "hidden": "width of the vectors",
        "heads": "attention heads",
        "intermediate": "width inside the feed-forward layers",
        "embedding": "width of the factorized word vectors",
        "positions": "tokens of a text that the network could take",
    }
    for name, about in sizes.items():
        add(f"--{name}", type=int, default=left_out, metavar="N", help=about)
    add("--held-out", type=int, default=left_out, metavar="N", help="texts kept for validation")
    add("--max-tokens", type=int, default=left_out, metavar="N", help="tokens of a text at most")
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
    add("--negatives", default=left_out, choices=("bm25", "none"), help="hard negatives")
    numbers = {
        "max-tokens": (int, "tokens of a text that the result takes (default: the model's)"),
        "passage-tokens": (int, "tokens of a passage in training (default: --max-tokens)"),
        "passages": (int, "passages of a contrastive batch"),
        "neighbours": (int, "passages of a batch that BM25 takes for each other, at most"),
        "questions": (int, "questions of a passage at most"),
        "temperature": (float, "of the contrastive loss"),
        "keep": (float, "weight of the distillation loss, with --distilled"),
        "average": (float, "share of the new weights in the result"),
    }
    for name, (kind, about) in numbers.items():
        add(f"--{name}", type=kind, default=left_out, metavar="N", help=about)
    _training_arguments(sub)


def _training_arguments(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    left_out = argparse.SUPPRESS
    numbers = {
        "batch-tokens": (int, "tokens of a batch"),
        "epochs": (float, "passes over the data"),
        "minutes": (float, "end after so long, the schedule fitted to it"),
        "rate": (float, "highest learning rate"),
        "seed": (int, "of order and sampling"),
        "evaluate-every": (int, "steps between validations"),
    }
    for name, (kind, about) in numbers.items():
        add(f"--{name}", type=kind, default=left_out, metavar="N", help=about)
    add("--device", default=left_out, choices=("auto", "cpu", "cuda"), help="where to train")
    add("--precision", default=left_out, choices=("auto", "float32", "bfloat16"),
        help="of the forward and backward pass")  # fmt: skip
    add("--resume", action="store_true", help="go on from the last checkpoint")
