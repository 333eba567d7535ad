"""Contrastive learning of a student on questions and their passages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from transforms.encoder.batching import batches_by_length, pad
from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.models.tokenizer_checks import check_ids, check_tokenizer_files
from transforms.training.distillation_data import DistillationBatch
from transforms.training.hard_negatives import Int32, mine_hard_negatives
from transforms.training.losses import contrastive_loss
from transforms.training.pairs import DISTRACTORS, PairBatch, Pairs, validation_pool
from transforms.training.student import LossWeights, Student


def token_ids(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[Int32]:
    """Return the ids of each text, special tokens included, cut at so many."""
    found = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    return [np.asarray(one, dtype=np.int32) for one in found]


@dataclass(frozen=True)
class TokenizedPairs:
    """The token ids of a corpus of pairs, special tokens included."""

    passages: list[Int32]
    questions: list[Int32]

    @classmethod
    def tokenize(cls, pairs: Pairs, tokenizer: Any, max_tokens: int) -> TokenizedPairs:
        """Tokenize passages and questions, cut at `max_tokens`."""
        some = pairs.passages, pairs.questions
        return cls(*(token_ids(tokenizer, texts, max_tokens) for texts in some))

    def hard_negatives(self, pairs: Pairs, vocabulary: int) -> list[list[int]]:
        """Return the hard negatives of each passage, hardest first."""
        passages = [row[1:-1] for row in self.passages]
        questions = [row[1:-1] for row in self.questions]
        return mine_hard_negatives(passages, questions, pairs.relevant, vocabulary)


def embed_all(student: Student, rows: Sequence[Int32], batch_tokens: int) -> torch.Tensor:
    """Encode token ids in batches by length: unit vectors, float32 [rows, dim], with gradient."""
    lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
    batches = batches_by_length(lengths, batch_tokens)
    found = [student.embed(pad([rows[i] for i in b], -1).to(student.device)) for b in batches]
    back = np.argsort(np.concatenate(batches), kind="stable")
    return torch.cat(found)[torch.from_numpy(back).to(student.device)]


@dataclass(frozen=True)
class FinetuneBatch:
    """The batches of one optimizer step.

    Attributes:
        pairs: for the contrastive loss.
        distillation: for the distillation loss, which keeps the geometry; None to leave it out.
    """

    pairs: PairBatch
    distillation: DistillationBatch | None


class ContrastiveObjective:
    """The loss and the validation of contrastive training."""

    def __init__(
        self,
        student: Student,
        corpora: Sequence[Pairs],
        tokens: Sequence[TokenizedPairs],
        *,
        temperature: float,
        keep: float,
        batch_tokens: int,
        changed: Callable[[PairBatch], list[Int32]] | None = None,
    ) -> None:
        """Combine a student with its data.

        Args:
            student: the network to train.
            corpora: the pairs of each corpus.
            tokens: the same, tokenized.
            temperature: the temperature of the contrastive loss.
            keep: weight of the distillation loss.
            batch_tokens: tokens that the student encodes at once.
            changed: returns the token ids of changed copies of a batch's passages and questions,
                to train on; None for the texts as they are.
        """
        self.changed = changed
        self.student, self.corpora, self.tokens = student, corpora, tokens
        self.temperature, self.keep, self.batch_tokens = temperature, keep, batch_tokens

    def loss(self, batch: FinetuneBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the contrastive loss and the parts to report.

        The gradients of the weighted distillation loss are added here already.
        """
        pairs = batch.pairs
        if self.changed is None:
            rows = self.tokens[pairs.corpus]
            texts = [rows.passages[n] for n in pairs.passages]
            texts += [rows.questions[n] for n in pairs.questions]
        else:
            texts = self.changed(pairs)
        vectors = embed_all(self.student, texts, self.batch_tokens)
        passages, questions = vectors[: len(pairs.passages)], vectors[len(pairs.passages) :]
        relevant = torch.from_numpy(pairs.relevant).to(vectors.device)
        loss = contrastive_loss(questions, passages, relevant, self.temperature)
        detail = {"contrastive": loss.item()}
        if batch.distillation is not None:
            # A backward pass of its own, so that the two graphs are never in memory together.
            kept, parts = self.student.distillation_loss(batch.distillation, LossWeights())
            (self.keep * kept).backward()  # type: ignore[no-untyped-call]
            detail |= parts
        return loss, detail

    def evaluate(
        self,
        held_out: Sequence[set[int]],
        questions: int,
        distillation: Sequence[DistillationBatch],
    ) -> dict[str, float]:
        """Search the validation pool for the questions of held-out passages.

        A passage that scores as high as the answer ranks before it.

        Args:
            held_out: the held-out passages of each corpus.
            questions: the most questions of a corpus, spread evenly over the passages.
            distillation: held-out batches of the distillation; may be empty.

        Returns:
            ``score``: MRR@10, the mean of all corpora; and with distillation batches ``teacher``,
            the mean cosine to the teacher.
        """
        scores_of_corpora = []
        for pairs, rows, chosen in zip(self.corpora, self.tokens, held_out, strict=True):
            pool = validation_pool(pairs, chosen, DISTRACTORS)
            owned = pairs.questions_by_passage()
            asked = list(dict.fromkeys(q for n in sorted(chosen) for q in owned[n][:2]))
            most = min(len(asked), questions)
            asked = [asked[place * len(asked) // most] for place in range(most)]
            found = embed_all(self.student, [rows.passages[n] for n in pool], self.batch_tokens)
            asking = embed_all(self.student, [rows.questions[q] for q in asked], self.batch_tokens)
            scores = (asking @ found.T).cpu()
            relevant = torch.tensor([[n in pairs.relevant[q] for n in pool] for q in asked])
            top = scores.masked_fill(~relevant, -2).max(1, keepdim=True).values
            rank = 1 + (~(scores < top) & ~relevant).sum(1)
            scores_of_corpora.append(float(torch.where(rank <= 10, 1.0 / rank, 0.0).mean()))
        metrics = {"score": sum(scores_of_corpora) / len(scores_of_corpora)}
        if distillation:
            metrics["teacher"] = self.student.teacher_cosine(distillation)["score"]
        return metrics


def join_batches(
    pairs: Iterator[PairBatch], distillation: Iterator[DistillationBatch] | None
) -> Iterator[FinetuneBatch]:
    """Combine one batch of each kind for each step."""
    for batch in pairs:
        yield FinetuneBatch(batch, next(distillation) if distillation is not None else None)


def load_tokenizer(folder: Path, vocabulary: int) -> Any:
    """Load a model's tokenizer. Raises BadInput if its size differs from the model's."""
    check_tokenizer_files(str(folder), str(folder))
    with refusing(str(folder), "has a tokenizer that can't be used", "Restore its tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        check_ids(tokenizer.backend_tokenizer, vocabulary, str(folder))
    if len(tokenizer) != vocabulary:
        raise BadInput(
            "tokenizer",
            str(folder),
            f"has {len(tokenizer)} pieces, and the model has {vocabulary}",
            "Restore the tokenizer.json that belongs to the weights",
        )
    return tokenizer
