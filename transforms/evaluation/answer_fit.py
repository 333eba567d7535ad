"""Fit how sure a reader's answers are, on questions with known answers; see `answer_scales`.

The weights of the scores are chosen on a grid, so that the best answer of a question is right most
often. Then the logistic function is fitted to these answers by Platt's method. Folds of the
questions tell what both are worth on questions that they were not fitted on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.evaluation.squad import exact_match
from transforms.search.answer_scales import Scale
from transforms.search.reader import Answer
from transforms.search.results import Hit

Floats = npt.NDArray[np.float64]

#: The weights that are tried: of the hit's score, in units of the spans' deviation; of no answer.
_RETRIEVAL = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
_NO_ANSWER = (0.0, 0.25, 0.5, 0.75, 1.0)
_FOLDS, _BINS = 5, 10
#: The flattest slope: the order of the sums says nothing then, but stays.
_FLATTEST = 1e-6
#: Fewer questions than that say nothing.
FEWEST = 20


@dataclass(frozen=True)
class Candidates:
    """The answers that the hits of questions have.

    Attributes:
        questions: the question of each answer, int64 ``[answers]``, ascending.
        retrieval, span, no_answer: the scores of each, float64 ``[answers]``.
        right: 1 if it is a known answer by SQuAD's rules, else 0, float64 ``[answers]``.
        asked: the number of questions, those without an answer included.
    """

    questions: npt.NDArray[np.int64]
    retrieval: Floats
    span: Floats
    no_answer: Floats
    right: Floats
    asked: int

    @classmethod
    def of(
        cls,
        found: Sequence[tuple[Sequence[Hit], Sequence[Answer | None]]],
        known: Sequence[Sequence[str]],
    ) -> "Candidates":
        """Return the answers of hits; ``known`` are the known answers of each question."""
        rows = [
            (place, hit.score, span.score, span.no_answer or 0.0, _is_right(span, known[place]))
            for place, (hits, spans) in enumerate(found)
            for hit, span in zip(hits, spans, strict=True)
            if span is not None
        ]
        table = np.array(rows, np.float64).reshape(-1, 5).T
        owner, retrieval, span_score, nothing, right = table
        return cls(owner.astype(np.int64), retrieval, span_score, nothing, right, len(known))

    def take(self, chosen: npt.NDArray[np.bool_]) -> "Candidates":
        """Return those of some questions, by a mask ``[asked]``."""
        rows = chosen[self.questions]
        return Candidates(
            self.questions[rows],
            self.retrieval[rows],
            self.span[rows],
            self.no_answer[rows],
            self.right[rows],
            int(chosen.sum()),
        )

    def best(self, retrieval: float, no_answer: float) -> tuple[Floats, Floats]:
        """Return the sum of each question's best answer, and whether that is right."""
        sums = self.span + retrieval * self.retrieval - no_answer * self.no_answer
        order = np.lexsort((-sums, self.questions))
        _, first = np.unique(self.questions[order], return_index=True)
        chosen = order[first]
        return sums[chosen], self.right[chosen]


@dataclass(frozen=True)
class Fit:
    """A fitted scale, and what it is worth on questions that it was not fitted on.

    Attributes:
        scale: the scale of all questions.
        exact_match: the share of the questions whose best answer is right.
        span_alone: that share if the span's score alone chooses the answer.
        brier: the mean squared difference of probability and truth.
        calibration_error: the mean difference of probability and share of right answers, in ten
            bins of probability.
    """

    scale: Scale
    exact_match: float
    span_alone: float
    brier: float
    calibration_error: float


def fit(found: Candidates, *, hits_count: bool = True, seed: int = 0) -> Fit:
    """Fit a scale.

    Args:
        found: the answers of questions.
        hits_count: whether the score of the hit may count.
        seed: decides the folds.

    Raises:
        BadInput: there are too few answers, or all are right or wrong.
    """
    answered = len(np.unique(found.questions))
    right = float(found.best(0.0, 0.0)[1].sum())
    if answered < FEWEST or not 0 < right < answered:
        problem = f"give {answered:,} answers, of which {right:,.0f} are right"
        remedy = f"Give questions with {FEWEST} answers or more, some right and some wrong"
        raise BadInput("questions", None, problem, remedy)
    folds = np.random.default_rng(seed).permutation(found.asked) % _FOLDS
    probabilities, truths = [], []
    for fold in range(_FOLDS):
        scale = _fitted(found.take(folds != fold), hits_count)
        sums, truth = found.take(folds == fold).best(scale.retrieval, scale.no_answer)
        probabilities += [scale.probability(each) for each in sums]
        truths += truth.tolist()
    sure, true = np.array(probabilities), np.array(truths)
    return Fit(
        _fitted(found, hits_count),
        float(true.sum()) / found.asked,
        right / found.asked,
        float(np.mean((sure - true) ** 2)),
        calibration_error(sure, true),
    )


def calibration_error(probabilities: Floats, truths: Floats) -> float:
    """Return the expected calibration error in bins of equal width.

    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, probabilities - truths, _BINS)
    return float(np.abs(gaps).sum()) / len(truths)


def _fitted(found: Candidates, hits_count: bool) -> Scale:
    unit = _deviation(found.span) / _deviation(found.retrieval)
    tried = [
        (share * unit, nothing)
        for share in (_RETRIEVAL if hits_count else _RETRIEVAL[:1])
        for nothing in (_NO_ANSWER if found.no_answer.any() else _NO_ANSWER[:1])
    ]
    # The first of equally good weights is the smallest.
    retrieval, nothing = max(tried, key=lambda weights: found.best(*weights)[1].sum())
    slope, offset = platt(*found.best(retrieval, nothing))
    return Scale(retrieval, nothing, slope, offset)


def _deviation(values: Floats) -> float:
    return float(values.std()) or 1.0


def platt(sums: Floats, truths: Floats) -> tuple[float, float]:
    """Return slope and offset of the logistic function that fits truths best; the slope is above 0.

    Source: Platt (1999) with his soft targets, by Newton's method as in Lin, Lin and Weng, A Note
    on Platt's Probabilistic Outputs for Support Vector Machines (2007).
    """
    right, wrong = truths.sum(), len(truths) - truths.sum()
    targets = np.where(truths > 0, (right + 1) / (right + 2), 1 / (wrong + 2))
    center, spread = sums.mean(), _deviation(sums)
    inputs = np.stack([(sums - center) / spread, np.ones_like(sums)])
    weights = np.array([0.0, np.log((right + 1) / (wrong + 1))])

    def loss(some: Floats) -> float:
        logits = some @ inputs
        return float((np.logaddexp(0, logits) - targets * logits).sum())

    for _ in range(100):
        sure = 1 / (1 + np.exp(-np.clip(weights @ inputs, -700, 700)))
        gradient = inputs @ (sure - targets)
        curvature = (inputs * (sure * (1 - sure))) @ inputs.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size, now = 1.0, loss(weights)
        while loss(weights - size * step) > now and size > 1e-10:
            size /= 2
        weights = weights - size * step
        if np.abs(gradient).max() < 1e-8 * len(sums):
            break
    slope = max(float(weights[0] / spread), _FLATTEST)
    return slope, float(weights[1] - slope * center)


def _is_right(span: Answer, known: Sequence[str]) -> float:
    # Where there is no answer, any answer is wrong.
    return exact_match(span.text, known) if any(known) else 0.0
