"""The size of a student network and the precisions of a training, without heavy imports."""

from dataclasses import dataclass, fields

from transforms.errors import BadInput, check_at_least

PRECISIONS = ("auto", "float32", "bfloat16")


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
