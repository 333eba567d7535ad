"""The training of a reranker: its batches, its loss and its validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from transforms.encoder.answer_spans import question_room
from transforms.encoder.batching import batches_by_length
from transforms.tasks.data.candidates import Candidates, Group
from transforms.tasks.networks.batches import WindowBatch
from transforms.tasks.networks.head_network import HeadNetwork
from transforms.tasks.networks.pair_tokens import SPECIAL
from transforms.tasks.networks.windows import Int32, Int64, Windows, encodings
from transforms.training.epochs import batches_from

#: The numbers of questions, and those of the passages that belong to them.
Pairs = tuple[Int64, Int64]

#: Ranks that count in the metrics.
_DEPTH = 10


class TokenCache:
    """The token ids of texts, without special tokens. A text is tokenized once."""

    def __init__(self, fast: Any, most: int) -> None:
        """Prepare for a fast tokenizer of transformers; ``most`` ids of each text are kept."""
        self._backend, self._most = fast.backend_tokenizer, most
        self._known: dict[str, Int32] = {}

    def ids(self, texts: Sequence[str]) -> list[Int32]:
        """Return the ids of each text."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known |= zip(new, self.once(new), strict=True)
        return [self._known[text] for text in texts]

    def once(self, texts: Sequence[str]) -> list[Int32]:
        """Return the ids of each text, which are not kept: it won't be asked for again."""
        found = encodings(self._backend, texts)
        return [np.asarray(each.ids[: self._most], np.int32) for each in found]


class PairScorer:
    """Scores how well passages answer questions, with a network that has one output."""

    def __init__(
        self,
        network: HeadNetwork,
        fast: Any,
        questions: Sequence[Int32],
        passages: Sequence[Int32],
        *,
        max_tokens: int,
        passage_tokens: int,
        batch_tokens: int,
    ) -> None:
        """Combine a network with its texts.

        Args:
            network: the network.
            fast: its tokenizer, after `frame_pairs`.
            questions: token ids of each question, without special tokens.
            passages: token ids of each passage.
            max_tokens: tokens of a pair, special tokens included.
            passage_tokens: tokens of a passage.
            batch_tokens: tokens that the network reads at once, padding included.
        """
        self.network, self.batch_tokens, self.most = network, batch_tokens, max_tokens
        self.questions = [ids[: question_room(max_tokens)] for ids in questions]
        self.passages = [ids[:passage_tokens] for ids in passages]
        specials = fast.cls_token_id, fast.sep_token_id
        self.cls, self.sep = (np.asarray([each], np.int32) for each in specials)
        self._asked, self._read = (
            np.asarray([len(each) for each in some], np.int64)
            for some in (self.questions, self.passages)
        )

    def lengths(self, pairs: Pairs) -> Int64:
        """Return the tokens of each pair, special tokens included."""
        questions, passages = pairs
        whole: Int64 = self._asked[questions] + self._read[passages] + SPECIAL
        return whole.clip(max=self.most)

    def scores(self, pairs: Pairs) -> torch.Tensor:
        """Score pairs of question and passage, given by their numbers: float32 ``[pairs]``."""
        lengths = self.lengths(pairs)
        ids = [self._join(*pair) for pair in zip(*pairs, strict=True)]
        rows = np.arange(len(ids))
        windows = Windows(ids, rows, 0 * rows, [], 1, SPECIAL, self._asked[pairs[0]] + 2)
        batches = batches_by_length(lengths, self.batch_tokens)
        found = [self.network.logits(WindowBatch(windows, some))[:, 0] for some in batches]
        back = np.argsort(np.concatenate(batches), kind="stable")
        return torch.cat(found)[torch.from_numpy(back).to(self.network.device)]

    def _join(self, question: int, passage: int) -> Int32:
        asked = self.questions[question]
        read = self.passages[passage][: self.most - SPECIAL - len(asked)]
        joined: Int32 = np.concatenate([self.cls, asked, self.sep, read, self.sep])
        return joined


@dataclass(frozen=True)
class GroupBatch:
    """A batch of groups, and what scores the pairs of their pass."""

    groups: list[Group]
    scorer: PairScorer


class GroupBatches:
    """All batches of groups; they depend on the seed alone."""

    def __init__(
        self,
        groups: Callable[[int], list[Group]],
        scorer: Callable[[int, list[Group]], PairScorer],
        batch_tokens: int,
    ) -> None:
        """Prepare batches.

        Args:
            groups: returns the groups of the pass with a number; equal for equal numbers.
            scorer: returns what scores the groups of the pass with a number.
            batch_tokens: tokens of a batch; a longer group is a batch of its own.
        """
        self.groups, self.scorer, self.batch_tokens = groups, scorer, batch_tokens

    def epoch(self, number: int) -> list[GroupBatch]:
        """Return the batches of one pass over all questions."""
        groups = self.groups(number)
        scorer = self.scorer(number, groups)
        lengths = scorer.lengths(flat(groups))
        ends = np.cumsum([len(group.texts) for group in groups])
        total = np.cumsum(lengths)[ends - 1]
        batch = (total - 1) // self.batch_tokens
        cuts = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(groups)]
        return [GroupBatch(groups[a:b], scorer) for a, b in pairwise(cuts)]

    def batches(self, start: int) -> Iterator[GroupBatch]:
        """Return batches without end, from the one numbered ``start`` on."""
        return batches_from(self.epoch, start)


def flat(groups: Sequence[Group]) -> Pairs:
    """Return the questions and texts of all pairs of some groups, in their order."""
    questions = np.repeat([g.question for g in groups], [len(g.texts) for g in groups])
    texts = np.concatenate([np.asarray(g.texts, np.int64) for g in groups])
    return questions.astype(np.int64), texts


class RerankerObjective:
    """The loss and the validation of a reranker."""

    def __init__(self, asked: PairScorer, candidates: Candidates) -> None:
        """Take what the validation needs.

        Args:
            asked: scores the pairs of the validation.
            candidates: the questions of the validation.
        """
        self.asked, self.candidates = asked, candidates
        self.mined = rank_metrics(candidates, candidates_order(candidates))

    def loss(self, batch: GroupBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the mean cross entropy of the passage that answers, among those of its group."""
        groups = batch.groups
        scores = batch.scorer.scores(flat(groups))
        sizes = [len(group.texts) for group in groups]
        table = scores.new_full((len(groups), max(sizes)), float("-inf"))
        table[torch.arange(max(sizes))[None] < torch.tensor(sizes)[:, None]] = scores
        return cross_entropy(table, table.new_zeros(len(groups), dtype=torch.long)), {}

    def evaluate(self) -> dict[str, float]:
        """Order the candidates of each validation question anew.

        Returns:
            ``mrr@10``, ``ndcg@10``, ``score``, which is the former, and both of the order that the
            search gave: ``mined_mrr@10`` and ``mined_ndcg@10``.
        """
        ranked = self.candidates.ranked
        groups = [Group(q, tuple(texts)) for q, texts in enumerate(ranked) if texts]
        scores = self.asked.scores(flat(groups)).cpu().numpy()
        orders = candidates_order(self.candidates)
        first = 0
        for group in groups:
            own = scores[first : first + len(group.texts)]
            orders[group.question] = np.argsort(-own, kind="stable")
            first += len(group.texts)
        found = rank_metrics(self.candidates, orders)
        mined = {f"mined_{name}": value for name, value in self.mined.items()}
        return {"score": found["mrr@10"], **found, **mined}


def candidates_order(candidates: Candidates) -> list[Int64]:
    """Return the order of each question's candidates in which the search gave them."""
    return [np.arange(len(texts), dtype=np.int64) for texts in candidates.ranked]


def rank_metrics(candidates: Candidates, orders: Sequence[Int64]) -> dict[str, float]:
    """Return the MRR@10 and the nDCG@10 of orders of each question's candidates."""
    discounts = 1 / np.log2(np.arange(_DEPTH) + 2)
    reciprocal = gain = 0.0
    for question, order in enumerate(orders):
        right = np.asarray(candidates.right(question), bool)[order][:_DEPTH]
        if right.any():
            reciprocal += 1 / (1 + int(right.argmax()))
            best = discounts[: min(_DEPTH, candidates.relevant[question])].sum()
            gain += min(1.0, float(discounts[: len(right)][right].sum() / best))
    count = max(1, len(orders))
    return {"mrr@10": reciprocal / count, "ndcg@10": gain / count}
