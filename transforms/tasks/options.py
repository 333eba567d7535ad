"""Options of heads on stored vectors; nothing heavy is imported here."""

from dataclasses import dataclass

from transforms.errors import BadInput, check_above_zero, check_at_least, check_choice

CLASS_WEIGHTS = ("none", "balanced")
#: Strengths that cross-validation tries, weakest regularization last; see `HeadOptions`.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class HeadOptions:
    """Options of the fit of a head on stored vectors.

    Attributes:
        strength: the inverse of the regularization, scikit-learn's ``C``; None chooses the one of
            `STRENGTHS` with the lowest cross-validated log loss.
        folds: the folds of the cross-validation.
        held_out: the share of labelled documents that the reported metrics are measured on; 0 for
            no report. The head that is written is fitted on all.
        class_weights: ``balanced`` weighs each class by the inverse of its rows.
        seed: the seed of the folds, of the share that is held out, and of the bootstrap.
    """

    strength: float | None = None
    folds: int = 3
    held_out: float = 0.2
    class_weights: str = "none"
    seed: int = 17

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        check_above_zero("strength", self.strength)
        check_at_least("folds", self.folds, 2)
        check_at_least("seed", self.seed, 0)
        check_choice("class_weights", self.class_weights, CLASS_WEIGHTS)
        if not 0 <= self.held_out <= 0.5:
            problem = "must be at least 0 and at most 0.5"
            raise BadInput("held_out", self.held_out, problem, "Give a share such as 0.2")
