"""The result of ``albeam compress``."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.training.result import TrainingResult


@dataclass(frozen=True)
class ModelFigures:
    """The size, the speed and the quality of a model.

    Attributes:
        layers: layers, or repeats of shared ones.
        heads: attention heads.
        inner: units between the two feed-forward products.
        parameters: the numbers in its weights, without pooler and heads of tasks.
        bytes: the size of its file of weights.
        products_per_token: multiplications of a token in the products of all layers.
        tokens_per_second: without tokenization, by turns with the other model. On a CPU a second
            is one of processor time.
        ndcg: nDCG@10 on the questions; None without ``--questions``.
    """

    layers: int
    heads: int
    inner: int
    parameters: int
    bytes: int
    products_per_token: int
    tokens_per_second: float
    ndcg: float | None


@dataclass(frozen=True)
class Saving:
    """What one kind of pruning saves, alone.

    Attributes:
        what: ``layers``, ``heads`` or ``inner``.
        before: their number before.
        after: their number after.
        parameters: the numbers that the weights lose.
        products_per_token: the multiplications that a token loses.
        note: a sentence about what it does not save, or "".
    """

    what: str
    before: int
    after: int
    parameters: int
    products_per_token: int
    note: str


@dataclass(frozen=True)
class CompressSummary:
    """The result of ``albeam compress``.

    Attributes:
        output: the folder of the smaller model.
        original: the figures of the model.
        compressed: the figures of the smaller model.
        speedup: how many times as fast the smaller model is: the median of the ratios of rounds.
        cosine: the mean cosine to the original on held-out texts; None without ``--texts``.
        cosine_p1: the first percentile of these cosines; None without ``--texts``.
        held_out: the number of held-out texts.
        importance: how the importance of heads and units was measured: ``taylor`` on texts, or
            ``norms`` of the weights.
        savings: what each kind of pruning saves.
        recovery: the recovery's training; None without ``--recover``.
    """

    output: str
    original: ModelFigures
    compressed: ModelFigures
    speedup: float
    cosine: float | None
    cosine_p1: float | None
    held_out: int
    importance: str
    savings: tuple[Saving, ...]
    recovery: TrainingResult | None
