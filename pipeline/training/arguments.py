"""The arguments of ``albeam pretrain``, ``distill``, ``finetune retrieve``; those of trainings."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from pipeline.training.options import (
    NEGATIVES,
    TEACHER_PRECISIONS,
    AugmentedOptions,
    DistillOptions,
    FinetuneOptions,
    PretrainOptions,
    TrainingOptions,
)
from transforms.models.options import DEVICES
from transforms.tasks.training_options import AUGMENTATIONS
from transforms.training.options import (
    MASKINGS,
    OPTIMIZERS,
    PRECISIONS,
    SENTENCES,
    TRAINED,
    StudentShape,
)

#: The controls of every training that are numbers.
CONTROLS = {
    "rate": "highest learning rate",
    "warmup": "share of the training in which the rate rises",
    "decay": "weight decay of matrices",
    "clip": "largest norm of the gradients",
    "dropout": "share of the activations that a step drops",
    "epochs": "passes over the data",
    "steps": "optimizer steps, instead of --epochs",
    "minutes": "end after this time; the schedule fits into it (default: no limit)",
    "batch_tokens": "tokens of a batch",
    "seed": "seed of order, sampling and dropout",
    "evaluate_every": "steps between evaluations",
    "patience": "stop after so many evaluations without a better score",
    "lora_rank": "rank of the products of --train lora",
}

#: The size of a new network.
SIZES = {
    "vocab_size": "pieces of the vocabulary",
    "layers": "layers",
    "groups": "groups of layers that share their weights",
    "hidden": "width of the vectors",
    "heads": "attention heads",
    "intermediate": "width inside the feed-forward layers",
    "embedding": "width of the factorized word embeddings",
    "positions": "maximum tokens of a text that the network supports",
}


def pretrain_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam pretrain``."""
    parser.add_argument(
        "--texts", type=Path, nargs="+", required=True, help="Parquet files with a column text"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the finished model")
    parser.add_argument(
        "--model",
        help="an ALBERT to train further instead of a new one: a folder, or albeam-small",
    )
    parser.add_argument(
        "--work", type=Path, help="folder of vocabulary and checkpoints (default: OUTPUT.work)"
    )
    parser.add_argument(
        "--masking",
        choices=MASKINGS,
        default=PretrainOptions.masking,
        help="what is masked; an n-gram has at most three words (default: %(default)s)",
    )
    parser.add_argument(
        "--sentence",
        choices=SENTENCES,
        default=PretrainOptions.sentence,
        help="what is asked about two segments: sop whether they are swapped, nsp whether the "
        "second one is of another text (default: %(default)s)",
    )
    add_numbers(parser, StudentShape, SIZES)
    add_numbers(
        parser,
        PretrainOptions,
        {
            "held_out": "texts kept for validation",
            "max_tokens": "maximum tokens of two segments, and of a text in the finished model",
            "average": "share of the new weights in the encoder of the result; the rest are those "
            "of --model",
        },
    )
    add_shared(parser, PretrainOptions)


def distill_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam distill``."""
    parser.add_argument(
        "--teacher",
        type=Path,
        required=True,
        help="folder of the teacher, a BERT saved by sentence-transformers",
    )
    parser.add_argument(
        "--second-teacher",
        type=Path,
        help="folder of another teacher: the student learns the mean similarities of both",
    )
    parser.add_argument(
        "--teacher-precision",
        choices=TEACHER_PRECISIONS,
        default=DistillOptions.teacher_precision,
        help="dtype of the teachers' products: auto is that of the training (default: %(default)s)",
    )
    parser.add_argument(
        "--texts", type=Path, nargs="+", required=True, help="Parquet files with a column text"
    )
    parser.add_argument(
        "--student",
        help="an ALBERT to train further instead of a new one: a folder, or albeam-small",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the finished model")
    parser.add_argument(
        "--work", type=Path, help="folder of vectors and checkpoints (default: OUTPUT.work)"
    )
    add_numbers(parser, StudentShape, SIZES)
    add_numbers(
        parser,
        DistillOptions,
        {
            "second_share": "weight of the second teacher's similarities",
            "held_out": "texts kept for validation",
            "max_tokens": "maximum tokens of a text",
        },
    )
    add_shared(parser, DistillOptions)


def retrieve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam finetune retrieve``."""
    add_pairs(parser)
    parser.add_argument(
        "--distilled", type=Path, help="work folder of albeam distill, to train on its data too"
    )
    parser.add_argument(
        "--negatives",
        choices=NEGATIVES,
        default=FinetuneOptions.negatives,
        help="how hard negatives are found (default: %(default)s)",
    )
    add_numbers(
        parser,
        FinetuneOptions,
        {
            "max_tokens": "maximum tokens of a text in the new model (default: as in the model)",
            "passage_tokens": "maximum tokens of a text in training (default: --max-tokens)",
            "passages": "passages of a contrastive batch",
            "neighbours": "maximum passages of a batch that are hard negatives of each other",
            "questions": "maximum questions of a passage",
            "temperature": "temperature of the contrastive loss",
            "keep": "weight of the distillation loss, with --distilled (default: 1)",
            "average": "share of the new weights in the result",
        },
    )
    add_shared(parser, FinetuneOptions)


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Add the model and the pairs of a training on questions and passages, and its folders."""
    parser.add_argument(
        "--model", required=True, help="folder of the model to start from, or albeam-small"
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        nargs=2,
        action="append",
        required=True,
        metavar=("PASSAGES", "QUESTIONS"),
        help="Parquet files with id, text and with question, relevant; may be repeated",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: OUTPUT.work)")


def add_shared(parser: argparse.ArgumentParser, owner: type[TrainingOptions]) -> None:
    """Add the controls of a training, with its defaults, and where to compute.

    Those whose options are `AugmentedOptions` also have ``--augment``.
    """
    if issubclass(owner, AugmentedOptions):
        parser.add_argument(
            "--augment",
            type=_names,
            default=owner.augment,
            metavar="WAYS",
            help=f"change a tenth of the words of the training texts, at each pass anew: "
            f"{', '.join(AUGMENTATIONS)}, separated by commas; synonym takes a near word by the "
            "model's word vectors (default: none)",
        )
    controls = parser.add_argument_group("controls of the training")
    add_numbers(controls, owner, CONTROLS)
    controls.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default=owner.optimizer,
        help="what steps the matrices of layers (default: %(default)s)",
    )
    controls.add_argument(
        "--train",
        choices=TRAINED if owner.has_head else [name for name in TRAINED if name != "head"],
        default=owner.train,
        help="which weights change; lora adds products of low rank to the layers, and merges "
        "them into the weights at the end (default: %(default)s)",
    )
    controls.add_argument(
        "--tensorboard",
        action="store_true",
        help="write event files to the work folder, for the package tensorboard",
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=TrainingOptions.device,
        help="where to train (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=TrainingOptions.precision,
        help="dtype of the forward and backward pass (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def add_numbers(
    parser: argparse._ActionsContainer, owner: type[Any], about: Mapping[str, str]
) -> None:
    """Add a number for each field of an options class, with the field's type and default."""
    known = {field.name: field for field in fields(owner)}
    for name, text in about.items():
        field = known[name]
        kind = next(one for one in (field.type, *get_args(field.type)) if one in (int, float))
        default = "" if field.default is None else f" (default: {field.default:g})"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=field.default,
            metavar="N",
            help=f"{text}{default}",
        )
