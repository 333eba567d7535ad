"""Contrastive learning of a student on questions and their passages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from transforms.encoder.batching import batches_by_length, pad
from transforms.errors import BadInput
from transforms.training.distillation_data import Lesson
from transforms.training.hard_negatives import Int32, rivals
from transforms.training.losses import contrastive_loss
from transforms.training.pairs import OTHERS, Contest, Pairs, searched
from transforms.training.student import LossWeights, Student


@dataclass(frozen=True)
class TokenizedPairs:
    """The token ids of a corpus of pairs, special tokens included."""

    passages: list[Int32]
    questions: list[Int32]

    @classmethod
    def of(cls, pairs: Pairs, tokenizer: Any, max_tokens: int) -> TokenizedPairs:
        """Tokenize passages and questions, cut at `max_tokens`."""

        def ids(texts: list[str]) -> list[Int32]:
            found = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
            return [np.asarray(one, dtype=np.int32) for one in found]

        return cls(ids(pairs.passages), ids(pairs.questions))

    def rivals(self, pairs: Pairs, vocabulary: int) -> list[list[int]]:
        """Mine each passage's hard negatives: see `transforms.training.hard_negatives.rivals`."""
        bare = [row[1:-1] for row in self.passages]
        asked = [row[1:-1] for row in self.questions]
        return rivals(bare, asked, pairs.relevant, vocabulary)


def embed_all(student: Student, rows: Sequence[Int32], budget: int) -> torch.Tensor:
    """Encode token rows in batches by length: unit vectors, float32 [rows, dim], with gradient."""
    lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
    batches = batches_by_length(lengths, budget)
    found = [student.embed(pad([rows[i] for i in b], -1).to(student.device)) for b in batches]
    back = np.argsort(np.concatenate(batches), kind="stable")
    return torch.cat(found)[torch.from_numpy(back).to(student.device)]


@dataclass(frozen=True)
class Round:
    """One optimizer step's work: a contest, and perhaps a lesson that keeps the geometry."""

    contest: Contest
    lesson: Lesson | None


class Finetuning:
    """Loss and validation of contrastive training."""

    def __init__(
        self,
        student: Student,
        corpora: Sequence[Pairs],
        tokens: Sequence[TokenizedPairs],
        *,
        temperature: float,
        keep: float,
        budget: int,
    ) -> None:
        """`keep` weighs the distillation loss of each round's lesson."""
        self.student, self.corpora, self.tokens = student, corpora, tokens
        self.temperature, self.keep, self.budget = temperature, keep, budget

    def loss(self, work: Round) -> tuple[torch.Tensor, dict[str, float]]:
        """Contrastive loss of the contest plus the weighed distillation loss of the lesson."""
        contest = work.contest
        rows = self.tokens[contest.corpus]
        texts = [rows.passages[n] for n in contest.passages]
        texts += [rows.questions[n] for n in contest.questions]
        vectors = embed_all(self.student, texts, self.budget)
        passages, questions = vectors[: len(contest.passages)], vectors[len(contest.passages) :]
        relevant = torch.from_numpy(contest.relevant).to(vectors.device)
        loss = contrastive_loss(questions, passages, relevant, self.temperature)
        detail = {"contrastive": loss.item()}
        if work.lesson is not None:
            # Its own backward pass, so that the two graphs are never in memory together.
            kept, parts = self.student.distillation_loss(work.lesson, LossWeights())
            (self.keep * kept).backward()  # type: ignore[no-untyped-call]
            detail |= parts
        return loss, detail

    def evaluate(
        self, left_out: Sequence[set[int]], questions: int, lessons: Sequence[Lesson]
    ) -> dict[str, float]:
        """Rank the held-out passages among others for their questions: MRR@10, the corpora's mean.

        At most `questions` questions a corpus take part, spread evenly over the passages; one that
        scores as high as the answer ranks before it. The cosine to the teacher is added where
        there are held-out lessons, as "teacher".
        """
        ranks = []
        for pairs, rows, chosen in zip(self.corpora, self.tokens, left_out, strict=True):
            pool = searched(pairs, chosen, OTHERS)
            answered = pairs.answered()
            asked = list(dict.fromkeys(q for n in sorted(chosen) for q in answered[n][:2]))
            most = min(len(asked), questions)
            asked = [asked[place * len(asked) // most] for place in range(most)]
            found = embed_all(self.student, [rows.passages[n] for n in pool], self.budget)
            asking = embed_all(self.student, [rows.questions[q] for q in asked], self.budget)
            scores = (asking @ found.T).cpu()
            relevant = torch.tensor([[n in pairs.relevant[q] for n in pool] for q in asked])
            top = scores.masked_fill(~relevant, -2).max(1, keepdim=True).values
            rank = 1 + (~(scores < top) & ~relevant).sum(1)
            ranks.append(float(torch.where(rank <= 10, 1.0 / rank, 0.0).mean()))
        metrics = {"score": sum(ranks) / len(ranks)}
        if lessons:
            metrics["teacher"] = self.student.teacher_cosine(lessons)["score"]
        return metrics


def rounds(contests: Iterator[Contest], lessons: Iterator[Lesson] | None) -> Iterator[Round]:
    """Join contests and lessons, one of each a step."""
    for contest in contests:
        yield Round(contest, next(lessons) if lessons is not None else None)


def load_tokenizer(folder: Path, vocabulary: int) -> Any:
    """Load a model's tokenizer. Raises BadInput where its size is not the model's."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if len(tokenizer) != vocabulary:
        raise BadInput(
            f"tokenizer of {folder} has {len(tokenizer)} pieces and the model {vocabulary}: "
            "restore the tokenizer.json that belongs to the weights"
        )
    return tokenizer
