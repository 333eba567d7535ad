"""Losses of distillation and contrastive training."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy


def sentence_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine distance of unit vectors, [batch, dim] each."""
    return 1 - (student * teacher).sum(-1).mean()


def similarity_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of the similarity matrices (Tung and Mori, 2019).

    Both are unit vectors [batch, dim]. A batch of one has no pairs and gives zero.
    """
    rows = len(student)
    gap = student @ student.T - teacher @ teacher.T
    return gap.square().sum() / max(1, rows * (rows - 1))


def word_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the share of the teacher's variance over words that the student does not explain.

    Both are float32 [words, dim], not normalized. 0 is perfect; 1 is as good as the teacher's mean
    word.
    """
    variance = (teacher - teacher.mean(0)).square().sum().clamp(min=1e-6)
    return (student - teacher).square().sum() / variance


def contrastive_loss(
    questions: torch.Tensor, passages: torch.Tensor, relevant: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the InfoNCE loss over the batch's passages (van den Oord et al., 2018).

    The target of a question is its first relevant passage. Its other relevant passages are left out
    of the sum.

    Args:
        questions: unit vectors [questions, dim].
        passages: unit vectors [passages, dim].
        relevant: bool [questions, passages], at least one true in each row.
        temperature: divides the similarities.
    """
    scores = questions @ passages.T / temperature
    target = relevant.to(torch.int8).argmax(1)
    others = relevant.clone()
    others[torch.arange(len(target)), target] = False
    return cross_entropy(scores.masked_fill(others, float("-inf")), target)
