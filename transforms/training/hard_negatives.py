"""Hard negatives: passages that BM25 ranks high for a question that they do not answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Postings:
    """An inverted index over token ids with BM25 weights.

    Attributes:
        documents: document numbers; those of token t are at starts[t] : starts[t + 1].
        weights: the BM25 weight of each entry of ``documents``.
        starts: where the entries of each token start.
        count: the number of documents.
    """

    documents: Int32
    weights: npt.NDArray[np.float32]
    starts: npt.NDArray[np.int64]
    count: int


def build_postings(documents: Sequence[Int32], vocabulary: int, *, common: float = 0.1) -> Postings:
    """Index documents given as token ids (Robertson and Zaragoza, 2009; k1 = 1.2, b = 0.75).

    Tokens in more than a share ``common`` of the documents are left out: they cost the most time
    and carry the least information.
    """
    k1, b = 1.2, 0.75
    lengths = np.asarray([len(one) for one in documents], dtype=np.float64)
    tokens, owners, counts = [], [], []
    for number, one in enumerate(documents):
        unique, times = np.unique(one, return_counts=True)
        tokens.append(unique)
        counts.append(times)
        owners.append(np.full(len(unique), number, dtype=np.int32))
    token, owner = np.concatenate(tokens), np.concatenate(owners)
    times = np.concatenate(counts).astype(np.float64)
    order = np.argsort(token, kind="stable")
    token, owner, times = token[order], owner[order], times[order]
    frequency = np.bincount(token, minlength=vocabulary)
    idf = np.log1p((len(documents) - frequency + 0.5) / (frequency + 0.5))
    idf[frequency > max(10, common * len(documents))] = 0
    damping = k1 * (1 - b + b * lengths[owner] / max(1.0, lengths.mean()))
    weights = idf[token] * times * (k1 + 1) / (times + damping)
    kept = idf[token] > 0
    starts = np.concatenate(([0], np.cumsum(np.bincount(token[kept], minlength=vocabulary))))
    return Postings(owner[kept], weights[kept].astype(np.float32), starts, len(documents))


def top_k(postings: Postings, query: Int32, k: int) -> Int32:
    """Return the numbers of at most k documents for a query's token ids, best first.

    Documents of equal score come in the order of their numbers.
    """
    cuts = [slice(postings.starts[t], postings.starts[t + 1]) for t in np.unique(query)]
    if not cuts:
        return np.empty(0, np.int32)
    documents = np.concatenate([postings.documents[c] for c in cuts])
    weights = np.concatenate([postings.weights[c] for c in cuts])
    scores = np.bincount(documents, weights=weights, minlength=postings.count)
    k = min(k, postings.count)
    top = np.argpartition(-scores, k - 1)[:k]
    top = top[np.lexsort((top, -scores[top]))]
    return top[scores[top] > 0].astype(np.int32)


def mine_hard_negatives(
    passages: Sequence[Int32],
    questions: Sequence[Int32],
    relevant: Sequence[Sequence[int]],
    vocabulary: int,
    *,
    k: int = 8,
) -> list[list[int]]:
    """Return for each passage those that BM25 finds for its questions but that don't answer them.

    The passage that is found most often and highest comes first.

    Args:
        passages: token ids of each passage.
        questions: token ids of each question.
        relevant: the numbers of each question's passages.
        vocabulary: the number of token ids.
        k: how many passages BM25 returns for a question.
    """
    postings = build_postings(passages, vocabulary)
    votes: list[dict[int, float]] = [{} for _ in passages]
    for tokens, answers in zip(questions, relevant, strict=True):
        found = [int(n) for n in top_k(postings, tokens, k) if int(n) not in answers]
        for answer in answers:
            for rank, negative in enumerate(found):
                votes[answer][negative] = votes[answer].get(negative, 0.0) + 1 / (rank + 1)
    return [sorted(vote, key=lambda n, v=vote: (-v[n], n)) for vote in votes]  # type: ignore[misc]
