"""Ranking options: choices, defaults and checks; nothing heavy is imported here."""

from collections.abc import Sequence
from dataclasses import dataclass

from transforms.errors import BadInput, check_at_least, check_choice
from transforms.models.options import DEVICES, DTYPES, Placement
from transforms.search.condition import Where, as_condition
from transforms.search.reading_options import ReadingOptions

#: Ways to rank.
MODES = ("hybrid", "dense", "lexical")
#: Ways to join the two scores of a hybrid search.
FUSIONS = ("combination", "rrf")
#: The weight of the cosine if neither the user nor the snapshot gives one.
DEFAULT_WEIGHT = 0.7


@dataclass(frozen=True)
class RankOptions:
    """Options of a ranking. The fields are the parameters of `Store.search`.

    Attributes:
        k: how many documents to find.
        mode: one of `MODES`.
        where: a condition on metadata columns, with the values of its parameters if it has any,
            such as ``("lang = ?", ["en"])``; or None.
        fusion: one of `FUSIONS`, for mode hybrid.
        weight: the weight of the cosine in a combination. None takes the snapshot's weight, or
            `DEFAULT_WEIGHT`.
        diverse: leave out documents whose passage is nearly identical to a better one.
        offset: how many of the best documents to leave out, for the pages after the first.
    """

    k: int = 10
    mode: str = "dense"
    where: Where | None = None
    fusion: str = "combination"
    weight: float | None = None
    diverse: bool = False
    offset: int = 0

    def __post_init__(self) -> None:
        """Raise BadInput if an option can't be used."""
        check_choice("mode", self.mode, MODES)
        check_at_least("k", self.k, 1)
        check_at_least("offset", self.offset, 0)
        if self.where is not None:
            as_condition(self.where)
        check_choice("fusion", self.fusion, FUSIONS)
        if self.weight is not None and not 0 <= self.weight <= 1:
            problem = "must lie between 0 (words alone) and 1 (vectors alone)"
            raise BadInput("weight", self.weight, problem, f"Give a value such as {DEFAULT_WEIGHT}")


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search that opens its store itself, on each worker.

    Attributes:
        store: the store's URL.
        snapshot: the snapshot's number.
        rank: how many documents to find per question, and how to rank them.
        model: the present folder of the store's model, if it has moved.
        device, dtype: see `Store.open`.
        reading: the models that read the hits.
    """

    store: str
    snapshot: int
    rank: RankOptions = RankOptions(100)
    model: str | None = None
    device: str = Placement.device
    dtype: str = Placement.dtype
    reading: ReadingOptions = ReadingOptions()

    def __post_init__(self) -> None:
        """Raise BadInput for an unknown device or dtype."""
        check_choice("device", self.device, DEVICES)
        check_choice("dtype", self.dtype, DTYPES)


def check_fusion(options: RankOptions, modes: Sequence[str]) -> None:
    """Raise BadInput if ``weight`` or ``fusion`` is given and can't have an effect.

    Args:
        options: what the user gave.
        modes: the modes in which the store will be searched.
    """
    if options.weight is not None and options.fusion == "rrf":
        problem = "has no effect with fusion rrf, which sums ranks and not scores"
        raise BadInput("weight", options.weight, problem, "Leave one of them out")
    if "hybrid" in modes:
        return
    problem = f"applies to mode hybrid, not to {' and '.join(modes)}"
    remedy = "Leave it out, or use --mode hybrid on a store with a lexical index"
    if options.fusion != RankOptions.fusion:
        raise BadInput("fusion", options.fusion, problem, remedy)
    if options.weight is not None:
        raise BadInput("weight", options.weight, problem, remedy)
