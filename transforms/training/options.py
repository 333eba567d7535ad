"""The controls of every training and the size of a student network, without heavy imports."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from transforms.errors import BadInput, check_above_zero, check_at_least, check_choice

PRECISIONS = ("auto", "float32", "bfloat16")
#: What steps the matrices of layers; AdamW steps all other weights.
OPTIMIZERS = ("muon", "adamw")
#: Which weights a training changes.
TRAINED = ("all", "head", "embeddings", "lora")
#: What a pretraining masks.
MASKINGS = ("ngram", "whole-word", "token")
#: What a pretraining asks about two segments: their order, whether they follow, or nothing.
SENTENCES = ("sop", "nsp", "none")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The controls that every training has. A training may have other defaults.

    Attributes:
        optimizer: what steps the matrices of layers, of `OPTIMIZERS`. Muon learns more from a
            step, and costs as much as some thousand tokens.
        rate: the highest learning rate.
        warmup: the share of the training in which the rate rises.
        decay: weight decay of matrices.
        clip: the largest norm of the gradients.
        dropout: the share of the activations and attentions that a training step drops.
        epochs: passes over the data.
        steps: optimizer steps, instead of ``epochs``. None means that ``epochs`` decides.
        minutes: the longest training; the schedule fits into it. None means no limit.
        batch_tokens: tokens of a batch, padding included.
        seed: the seed of order, sampling and dropout.
        evaluate_every: steps between evaluations.
        patience: stop after this many evaluations in a row without a better score.
        train: which weights change, of `TRAINED`. ``embeddings`` and ``lora`` include the head.
        lora_rank: the rank of the products that ``lora`` adds to the matrices of layers.
    """

    #: Options that decide the weights.
    decisive: ClassVar[tuple[str, ...]] = (
        *("optimizer", "rate", "warmup", "decay", "clip", "dropout", "epochs", "steps", "minutes"),
        *("batch_tokens", "seed", "evaluate_every", "patience", "train", "lora_rank"),
    )
    #: The least value of an option.
    least: ClassVar[dict[str, float]] = {
        **{"warmup": 0, "decay": 0, "dropout": 0, "steps": 1, "batch_tokens": 8, "seed": 0},
        **{"evaluate_every": 1, "patience": 0, "lora_rank": 1},
    }
    #: Options that must be finite and above 0.
    positive: ClassVar[tuple[str, ...]] = ("rate", "clip", "epochs", "minutes")
    #: Whether the network has a head.
    has_head: ClassVar[bool] = False

    optimizer: str = "muon"
    rate: float = 3e-4
    warmup: float = 0.03
    decay: float = 0.01
    clip: float = 1.0
    dropout: float = 0.0
    epochs: float = 1.0
    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 4096
    seed: int = 17
    evaluate_every: int = 100
    patience: int = 20
    train: str = "all"
    lora_rank: int = 8

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        for name, least in self.least.items():
            check_at_least(name, getattr(self, name), least)
        for name in self.positive:
            check_above_zero(name, getattr(self, name))
        for name in ("warmup", "dropout"):
            if not getattr(self, name) < 1:
                raise BadInput(
                    name, getattr(self, name), "must be below 1", "Give a value such as 0.1"
                )
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("train", self.train, TRAINED)
        if self.train == "head" and not self.has_head:
            raise BadInput(
                "train",
                self.train,
                "chooses the head alone, and this network has none",
                "Give all, embeddings or lora",
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the weights; a resume requires the same ones."""
        return {name: getattr(self, name) for name in self.decisive}


@dataclass(frozen=True)
class StudentShape:
    """The size of a student network; the defaults are those of albeam-small.

    Attributes:
        vocab_size: pieces of the vocabulary.
        layers: Transformer layers.
        groups: groups of layers that share their weights.
        hidden: width of the vectors.
        heads: attention heads.
        intermediate: width inside the feed-forward layers.
        embedding: width of the factorized word embeddings.
        positions: the longest text in tokens.
    """

    vocab_size: int = 27_000
    layers: int = 6
    groups: int = 2
    hidden: int = 384
    heads: int = 12
    intermediate: int = 768
    embedding: int = 128
    positions: int = 512

    def __post_init__(self) -> None:
        """Raise BadInput for sizes that no network can have."""
        for field in fields(self):
            check_at_least(field.name, getattr(self, field.name), 1)
        if self.embedding > self.hidden:
            raise BadInput(
                "embedding",
                self.embedding,
                f"must not exceed the hidden size of {self.hidden}",
                f"Give {self.hidden} or less",
            )
        if self.hidden % self.heads:
            raise BadInput(
                "hidden",
                self.hidden,
                f"must be a multiple of the {self.heads} attention heads",
                "Change the hidden size or the number of heads",
            )
        if self.layers % self.groups:
            raise BadInput(
                "layers",
                self.layers,
                f"must be a multiple of the {self.groups} groups",
                "Change the number of layers or of groups",
            )
