"""How passages are ranked, as a user asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from transforms.errors import BadInput

MODES = ("hybrid", "dense", "lexical")


@dataclass(frozen=True)
class RankOptions:
    """How to rank.

    Attributes:
        k: how many documents.
        mode: ``hybrid``, ``dense`` or ``lexical``.
        where: a condition on metadata columns, or None.
        fusion: of a hybrid search: ``combination`` or ``rrf``.
        weight: of the cosine in a combination; None takes the store's, else 0.6.
        diverse: leave out documents whose passage is nearly identical to a better one.
    """

    k: int = 10
    mode: str = "dense"
    where: str | None = None
    fusion: str = "combination"
    weight: float | None = None
    diverse: bool = False

    def __post_init__(self) -> None:
        """Raise BadInput for what can't be done."""
        if self.mode not in MODES:
            raise BadInput(f"mode {self.mode!r} is not one of {', '.join(MODES)}")
        if self.k < 1:
            raise BadInput(f"k is {self.k}; give 1 or more")
        if self.fusion not in FUSIONS:
            raise BadInput(f"fusion {self.fusion!r} is not one of {', '.join(FUSIONS)}")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise BadInput(f"weight is {self.weight}; give 0 (words alone) to 1 (vectors alone)")


def check_mixing(options: RankOptions, modes: Sequence[str]) -> None:
    """Raise BadInput where it is said how hybrid scores are made, and no such are."""
    asked = f"weight {options.weight:g}" if options.weight is not None else ""
    if asked and options.fusion == "rrf":
        raise BadInput(f"{asked} is of scores, and rrf sums ranks; leave one of them out")
    if options.fusion != FUSIONS[0]:
        asked = f"fusion {options.fusion}"
    if asked and "hybrid" not in modes:
        raise BadInput(
            f"{asked} is for hybrid searches, and this one is {' and '.join(modes)}; leave it out, "
            "or search a store with a lexical index by --mode hybrid"
        )


FUSIONS = ("combination", "rrf")
