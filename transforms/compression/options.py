"""How much of a model is pruned, without heavy imports."""

from dataclasses import dataclass

from transforms.errors import BadInput, check_at_least


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """How much of a model is pruned.

    Attributes:
        prune_heads: attention heads to remove from each layer: a number, or a share as a float.
        prune_inner: inner units to remove from each feed-forward layer: a number, or a share as a
            float.
        layers: the layers that remain; None for all. With shared weights, these are repeats.
    """

    prune_heads: int | float | None = None
    prune_inner: int | float | None = None
    layers: int | None = None

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        for name in ("prune_heads", "prune_inner"):
            value = getattr(self, name)
            if isinstance(value, float) and not 0 < value < 1:
                raise BadInput(
                    name,
                    value,
                    "is a share, and must be above 0 and below 1",
                    "Give a share such as 0.5, or a whole number",
                )
            check_at_least(name, value, 0 if isinstance(value, float) else 1)
        check_at_least("layers", self.layers, 1)
        if (self.prune_heads, self.prune_inner, self.layers) == (None, None, None):
            raise BadInput(
                "prune_inner",
                None,
                "is missing, and so are --prune-heads and --layers: nothing would be pruned",
                "Give --prune-inner 0.5, for example",
            )
