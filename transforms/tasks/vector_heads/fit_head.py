"""Fit a head on vectors with scikit-learn; the strength is chosen by cross-validation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.models.identity import ModelIdentity
from transforms.tasks.data.labels import Classes, Codes
from transforms.tasks.libraries import needing_tasks
from transforms.tasks.metrics.class_metrics import ClassMetrics, class_metrics, log_losses
from transforms.tasks.options import STRENGTHS, HeadOptions
from transforms.tasks.vector_heads.vector_head import VectorHead, Vectors

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
#: The strength where there are too few rows for a cross-validation.
_DEFAULT_STRENGTH = 10.0
_MOST_STEPS = 2_000
#: The largest gradient where a fit stops. A fit that strengths are compared by is rough, and in
#: float32; any other goes on until predictions no longer depend on rounding.
_ROUGH, _FINE = 1e-4, 1e-5
#: The bias of a class that all rows have, or none: its probability is nearly 1 or 0.
_CERTAIN = 20.0


def fit_head(
    vectors: Vectors, codes: Codes, classes: Classes, encoder: ModelIdentity, options: HeadOptions
) -> tuple[VectorHead, ClassMetrics | None]:
    """Fit a head, and measure one like it on the held-out share; None if nothing is held out.

    Args:
        vectors: a vector of each document, float32 ``[documents, dim]``.
        codes: the classes of the documents, as `Classes.codes` returns them.
        classes: the classes.
        encoder: the model of the vectors.
        options: how to fit.
    """
    held_out = _held_out(codes, options)
    fitting = np.setdiff1d(np.arange(len(codes)), held_out)
    strength = options.strength
    losses: dict[str, float] = {}
    if strength is None:
        strength, losses = choose_strength(vectors[fitting], codes[fitting], classes, options)
    settings: dict[str, Any] = {
        **asdict(options),
        "strength": strength,
        "log_losses": losses,
        "documents": len(codes),
        "held_out_documents": len(held_out),
    }
    metrics = None
    if len(held_out):
        part = _fitted(vectors[fitting], codes[fitting], classes, strength, options)
        scores = VectorHead(classes, encoder, *part).scores(vectors[held_out])
        metrics = class_metrics(codes[held_out], scores, classes.names, seed=options.seed)
    weights = _fitted(vectors, codes, classes, strength, options)
    measured = {} if metrics is None else metrics.to_dict()
    return VectorHead(classes, encoder, *weights, settings, measured), metrics


def choose_strength(
    vectors: Vectors, codes: Codes, classes: Classes, options: HeadOptions
) -> tuple[float, dict[str, float]]:
    """Choose a strength by cross-validation; return it, and the log losses by strength.

    Strengths are tried from the strongest regularization on, until the loss has risen twice. The
    first one that is within a standard error of the lowest loss is chosen.

    Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984), 3.4.3.
    """
    folds = list(_folds(codes, options.folds, options.seed))
    if not folds:
        return _DEFAULT_STRENGTH, {}
    losses: dict[float, Floats] = {}
    with ThreadPoolExecutor(min(len(folds), os.cpu_count() or 1)) as pool:
        for strength in STRENGTHS:

            def loss(fold: tuple[Ints, Ints], strength: float = strength) -> Floats:
                train, test = fold
                part = _fitted(vectors[train], codes[train], classes, strength, options, _ROUGH)
                head = VectorHead(classes, _NO_ENCODER, *part)
                return log_losses(codes[test], head.scores(vectors[test]))

            losses[strength] = np.concatenate(list(pool.map(loss, folds)))
            best = min(losses, key=lambda each: losses[each].mean())
            if list(losses).index(best) < len(losses) - 2:
                break
    means = {each: float(losses[each].mean()) for each in losses}
    enough = means[best] + float(losses[best].std()) / np.sqrt(len(losses[best]))
    chosen = next(each for each in means if means[each] <= enough)
    return chosen, {f"{each:g}": mean for each, mean in means.items()}


def _fitted(
    vectors: Vectors,
    codes: Codes,
    classes: Classes,
    strength: float,
    options: HeadOptions,
    gradient: float = _FINE,
) -> tuple[Vectors, Vectors]:
    """Return weights ``[classes, dim]`` and bias ``[classes]`` of a logistic regression."""
    if not classes.several:
        return _fitted_one(vectors, codes, len(classes.names), strength, options, gradient)
    # Each class against the rest.
    weights = np.zeros((len(classes.names), vectors.shape[1]), np.float32)
    bias = np.zeros(len(classes.names), np.float32)
    for place in range(len(classes.names)):
        has = codes[:, place].astype(np.int64)
        if has.all() or not has.any():
            bias[place] = _CERTAIN if has.all() else -_CERTAIN
            continue
        pair, shift = _fitted_one(vectors, has, 2, strength, options, gradient)
        weights[place], bias[place] = pair[1], shift[1]
    return weights, bias


def _fitted_one(
    vectors: Vectors,
    codes: Codes,
    count: int,
    strength: float,
    options: HeadOptions,
    gradient: float,
) -> tuple[Vectors, Vectors]:
    with needing_tasks():
        from sklearn.linear_model import LogisticRegression
    balanced = "balanced" if options.class_weights == "balanced" else None
    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = LogisticRegression(
            C=strength, max_iter=_MOST_STEPS, class_weight=balanced, tol=gradient
        ).fit(vectors.astype(np.float32 if gradient > _FINE else np.float64), codes)
    weights = np.zeros((count, vectors.shape[1]), np.float32)
    bias = np.zeros(count, np.float32)
    present = fitted.classes_.astype(np.int64)
    # A class without rows in a fold is certainly not meant.
    bias[np.setdiff1d(np.arange(count), present)] = -_CERTAIN
    if len(present) == 2:
        weights[present[1]], bias[present[1]] = fitted.coef_[0], fitted.intercept_[0]
    else:
        weights[present], bias[present] = fitted.coef_, fitted.intercept_
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        problem = "gives weights that are not finite"
        raise BadInput("strength", strength, problem, "Give a smaller strength")
    return weights, bias


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let BLAS and OpenMP use one thread: folds run side by side, and small products gain none."""
    with needing_tasks():
        from threadpoolctl import threadpool_limits
    with threadpool_limits(1):
        yield


def _held_out(codes: Codes, options: HeadOptions) -> Ints:
    """Return the rows of the held-out share; none if there are too few rows."""
    if not options.held_out:
        return np.zeros(0, np.int64)
    folds = _folds(codes, max(2, round(1 / options.held_out)), options.seed + 1)
    return next((test for _, test in folds), np.zeros(0, np.int64))


def _folds(codes: Codes, count: int, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield the rows to fit and those to measure, with the classes in equal shares.

    There are none if no class has as many rows as there are folds.
    """
    with needing_tasks():
        from sklearn.model_selection import KFold, StratifiedKFold
    several = codes.ndim == 2
    most = len(codes) if several else int(np.bincount(codes).max())
    if most < count:
        return
    kind = KFold if several else StratifiedKFold
    with warnings.catch_warnings():
        # A class may have fewer rows than there are folds.
        warnings.simplefilter("ignore")
        for train, test in kind(count, shuffle=True, random_state=seed).split(codes, codes):
            # One class alone can't be fitted.
            if several or len(np.unique(codes[train])) > 1:
                yield train, test


_NO_ENCODER = ModelIdentity("", None, "", "", "", 0, True, 0, "", "", 0)
