"""What ``albeam plan`` is asked."""

from dataclasses import dataclass

from pipeline.options import EmbedOptions


@dataclass(frozen=True)
class PlanOptions:
    """``albeam plan``.

    Attributes:
        embed: the run that is planned; its store is not looked at.
        rows: plan as if the input had so many rows like its own; None for those it has.
        workers: machines or processes that embed side by side, each as fast as this one.
        tokens_per_second: of one worker; None to measure this machine.
        price_per_hour: of one worker, in any currency; None where no cost is wanted.
    """

    embed: EmbedOptions
    rows: int | None = None
    workers: int = 1
    tokens_per_second: float | None = None
    price_per_hour: float | None = None
