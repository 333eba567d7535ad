"""Losses of distillation and contrastive training."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy


def sentence_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean cosine distance of unit vectors, [batch, dim] each."""
    return 1 - (student * teacher).sum(-1).mean()


def similarity_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of the batch's similarity matrices (Tung and Mori, 2019).

    Unit vectors [batch, dim] each; a batch of one has no pairs and gives zero.
    """
    rows = len(student)
    gap = student @ student.T - teacher @ teacher.T
    return gap.square().sum() / max(1, rows * (rows - 1))


def word_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Share of the teacher's variance over words that the student leaves unexplained.

    student, teacher: float32 [words, dim], neither normalized; 0 is perfect, 1 is no better than
    the teacher's mean word.
    """
    around = (teacher - teacher.mean(0)).square().sum().clamp(min=1e-6)
    return (student - teacher).square().sum() / around


def contrastive_loss(
    questions: torch.Tensor, passages: torch.Tensor, relevant: torch.Tensor, temperature: float
) -> torch.Tensor:
    """InfoNCE over the batch's passages (van den Oord et al., 2018).

    questions: unit vectors [questions, dim]; passages: unit vectors [passages, dim]; relevant: bool
    [questions, passages], at least one true a row. A question's first relevant passage is its
    target; other relevant ones are left out of the sum.
    """
    scores = questions @ passages.T / temperature
    target = relevant.to(torch.int8).argmax(1)
    others = relevant.clone()
    others[torch.arange(len(target)), target] = False
    return cross_entropy(scores.masked_fill(others, float("-inf")), target)
