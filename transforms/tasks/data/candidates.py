"""The passages that a search ranks for questions: a reranker learns from them, and orders them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.training.hard_negatives import Int32, build_postings, top_k
from transforms.training.pairs import Pairs

Int64 = npt.NDArray[np.int64]

#: The passages of a corpus whose search takes all words into account.
_SMALL = 2_000


@dataclass(frozen=True)
class Mined:
    """What a search found for some questions of a corpus.

    Attributes:
        texts: texts of passages; those of the corpus come first.
        owners: the passage of the corpus that each text is, or is a part of; -1 for none.
        ranked: the numbers of the texts that were found for each question, best first.
    """

    texts: list[str]
    owners: Int64
    ranked: list[list[int]]


@dataclass(frozen=True)
class Candidates:
    """Questions with passages that answer them and passages that don't.

    Attributes:
        questions: texts.
        texts: the texts of all passages.
        positives: the numbers of the texts that answer each question.
        negatives: the numbers of those that were found for it and don't, hardest first.
        ranked: the numbers of all that were found for it, best first.
        relevant: how many passages answer it, found or not.
        pools: numbers of texts to draw further negatives from; a pool for each corpus.
        corpora: the corpus of each question.
        known: the keys of all texts that answer each question, also of whole passages of which a
            search found a part.
        keys: equal for texts that are the same but for case and white space, ``[texts]``.
    """

    questions: list[str]
    texts: list[str]
    positives: list[list[int]]
    negatives: list[list[int]]
    ranked: list[list[int]]
    relevant: list[int]
    pools: list[Int64]
    corpora: list[int]
    known: list[set[int]]
    keys: Int64

    def __len__(self) -> int:
        return len(self.questions)

    def right(self, question: int) -> list[bool]:
        """Return whether each text that was found for a question answers it."""
        answers = {int(self.keys[text]) for text in self.positives[question]}
        return [int(self.keys[text]) in answers for text in self.ranked[question]]


def rank_by_words(
    passages: Sequence[Int32],
    questions: Sequence[Int32],
    vocabulary: int,
    depth: int,
) -> list[list[int]]:
    """Return for each question the numbers of the passages that BM25 ranks highest, best first.

    Args:
        passages: token ids of each passage, without special tokens.
        questions: token ids of each question.
        vocabulary: the number of token ids.
        depth: passages of a question, at most.
    """
    # Frequent words cost time in a large corpus only.
    common = max(0.1, min(1.0, _SMALL / max(1, len(passages))))
    postings = build_postings(passages, vocabulary, common=common)
    return [top_k(postings, tokens, depth).tolist() for tokens in questions]


def split_questions(pairs: Pairs, held_out: set[int], each: int, most: int) -> tuple[Int64, Int64]:
    """Return the questions to train on, and those that the validation asks.

    Blank ones are left out.

    Args:
        pairs: the pairs of a corpus.
        held_out: its passages that the training leaves out.
        each: questions of a passage in training, at most.
        most: questions of the validation, at most, spread evenly over the passages.
    """
    train: dict[int, None] = {}
    asked: dict[int, None] = {}
    for passage, own in enumerate(pairs.questions_by_passage()):
        spoken = [question for question in own if pairs.questions[question].strip()]
        if passage in held_out:
            asked.update((question, None) for question in spoken[:2])
        else:
            outside = [q for q in spoken if held_out.isdisjoint(pairs.relevant[q])]
            train.update((question, None) for question in outside[:each])
    chosen = np.asarray(list(asked), np.int64)
    count = min(most, len(chosen))
    spread = chosen[np.arange(count) * len(chosen) // max(1, count)]
    return np.asarray(list(train), np.int64), spread


def label_candidates(
    corpora: Sequence[tuple[Pairs, Int64, Mined]], left_out: Sequence[set[int]]
) -> Candidates:
    """Tell for each question which passages answer it, and join the corpora.

    A text that equals an answer, but for case and white space, is an answer. Questions whose
    passages all answer them are left out.

    Args:
        corpora: pairs, the numbers of some questions, and what was found for these questions.
        left_out: the passages of each corpus that are no negatives.
    """
    joined = Candidates([], [], [], [], [], [], [], [], [], np.empty(0, np.int64))
    numbers: dict[str, int] = {}
    keys: list[int] = []
    for number, ((pairs, questions, mined), hidden) in enumerate(
        zip(corpora, left_out, strict=True)
    ):
        first = len(joined.texts)
        joined.texts.extend(mined.texts)
        own = [numbers.setdefault(fold(text), len(numbers)) for text in mined.texts]
        keys += own
        pool = [p for p in range(len(pairs.passages)) if p not in hidden]
        joined.pools.append(first + np.asarray(pool, np.int64))
        for question, ranked in zip(questions.tolist(), mined.ranked, strict=True):
            relevant = pairs.relevant[question]
            found = [text for text in ranked if mined.owners[text] in relevant]
            seen = {int(mined.owners[text]) for text in found}
            answers = found + [passage for passage in relevant if passage not in seen]
            known = {own[text] for text in (*answers, *relevant)}
            others = [text for text in ranked if own[text] not in known and text not in found]
            others = [text for text in others if int(mined.owners[text]) not in hidden]
            if not others and all(own[passage] in known for passage in pool):
                continue
            joined.questions.append(pairs.questions[question])
            joined.positives.append([first + text for text in answers])
            joined.negatives.append([first + text for text in others])
            joined.ranked.append([first + text for text in ranked])
            joined.relevant.append(len(relevant))
            joined.corpora.append(number)
            joined.known.append(known)
    joined_keys = np.asarray(keys, np.int64)
    return Candidates(**{**vars(joined), "keys": joined_keys})


def fold(text: str) -> str:
    """Return a text without what does not tell passages apart: case and white space."""
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class Group:
    """A question with a passage that answers it, and some that don't.

    Attributes:
        question: the number of the question.
        texts: the numbers of the texts; the first one answers it.
    """

    question: int
    texts: tuple[int, ...]


def draw_groups(
    candidates: Candidates, count: int, hard: int, seed: int, number: int
) -> list[Group]:
    """Draw the groups of one pass over all questions, in random order.

    Args:
        candidates: the questions.
        count: negatives of a question; fewer only where a corpus has fewer.
        hard: how many of them are drawn from those that a search found, as far as there are enough;
            the others are drawn from the whole corpus.
        seed: the seed of the draw.
        number: the number of the pass.
    """
    rng = np.random.default_rng([seed, number])
    made = []
    for question in rng.permutation(len(candidates)).tolist():
        answers = candidates.positives[question]
        found = candidates.negatives[question]
        places = rng.permutation(len(found))[:hard]
        drawn = dict.fromkeys(found[place] for place in places)
        if len(drawn) < count:
            drawn |= _draw(candidates, question, count - len(drawn), drawn, rng)
        positive = answers[int(rng.integers(len(answers)))]
        made.append(Group(question, (positive, *drawn)))
    return made


def _draw(
    candidates: Candidates,
    question: int,
    count: int,
    drawn: dict[int, None],
    rng: np.random.Generator,
) -> dict[int, None]:
    """Draw texts of a question's corpus that don't answer it."""
    pool = candidates.pools[candidates.corpora[question]]
    taken = candidates.known[question] | {int(candidates.keys[text]) for text in drawn}
    some: dict[int, None] = {}
    # Most draws are free. Only a small pool is searched whole.
    tries = pool[rng.integers(len(pool), size=4 * count)] if len(pool) else pool
    for text in (*tries.tolist(), *rng.permutation(pool if len(pool) <= 16 * count else [])):
        if len(some) == count:
            break
        key = int(candidates.keys[int(text)])
        if key not in taken:
            taken.add(key)
            some[int(text)] = None
    return some
