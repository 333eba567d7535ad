"""Questions with their passages, and batches in which the passages are hard to tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.training.inputs import read_columns

#: The share of a corpus' passages that validation takes, and how many at most.
HELD_OUT = (0.05, 150)
#: How many other passages of a corpus validation searches beside them.
OTHERS = 500


@dataclass(frozen=True)
class Pairs:
    """One corpus: texts of passages and questions, and the passages that answer each question.

    No text stands twice.
    """

    name: str
    passages: list[str]
    questions: list[str]
    relevant: list[list[int]]

    def answered(self) -> list[list[int]]:
        """List the questions of each passage."""
        owned: list[list[int]] = [[] for _ in self.passages]
        for question, answers in enumerate(self.relevant):
            for passage in answers:
                owned[passage].append(question)
        return owned


def read_pairs(passages: Path, questions: Path) -> Pairs:
    """Read passages (id, text) and questions (question, relevant: ids) from Parquet files.

    Passages of one text are one, and so are questions, which all their passages answer: else each
    would be taught that the other's answer is none. Questions without a passage are left out.

    Raises:
        BadInput: a column is missing or of another type, an id stands twice, a relevant id is not
            among the passages, or fewer than two questions have passages.
    """
    rows = read_columns(passages, "passages", {"id": "id", "text": "text"})
    asked = read_columns(questions, "questions", {"question": "text", "relevant": "ids"})
    numbers: dict[str, int] = {}
    texts: dict[str, int] = {}
    for name, text in zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True):
        if str(name) in numbers:
            raise BadInput(f"passages {passages} have the id {name} twice: give each its own")
        numbers[str(name)] = texts.setdefault(text, len(texts))
    answers: dict[str, dict[int, None]] = {}
    for question, names in zip(
        asked["question"].to_pylist(), asked["relevant"].to_pylist(), strict=True
    ):
        for name in names or []:
            if str(name) not in numbers:
                raise BadInput(
                    f"question {question!r} of {questions} names the passage {name}, "
                    f"which {passages} does not hold: give the passages that belong to it"
                )
            answers.setdefault(question, {})[numbers[str(name)]] = None
    if len(answers) < 2:
        raise BadInput(f"pairs {questions} hold {len(answers)} answered questions: give 2 or more")
    return Pairs(
        passages.parent.name, list(texts), list(answers), [list(own) for own in answers.values()]
    )


def held_out(pairs: Pairs, share: float, most: int, seed: int) -> set[int]:
    """Draw answered passages for validation, one at least.

    Neither they nor any question that one of them answers take part in training.
    """
    answered = np.flatnonzero([bool(own) for own in pairs.answered()])
    count = min(most, max(1, int(share * len(answered))))
    drawn = answered[np.random.default_rng([seed, 1]).permutation(len(answered))[:count]]
    return {int(n) for n in drawn}


def searched(pairs: Pairs, kept: set[int], others: int) -> list[int]:
    """List the passages that are searched for the kept ones: these, and others drawn of the corpus.

    Among the few that are held out alone, most models find nearly all.
    """
    drawn = np.random.default_rng(5).permutation(len(pairs.passages))[:others]
    return sorted(kept.union(drawn.tolist()))


def neighbourhoods(
    passages: Sequence[int],
    unasked: Sequence[int],
    rivals: Sequence[Sequence[int]],
    size: int,
    dice: np.random.Generator,
) -> list[list[int]]:
    """Part passages into groups of at most `size`: a random one and its rivals not yet taken.

    Passages that are ``unasked``, without a question, come in as rivals alone.
    """
    seeds = np.asarray(sorted(set(passages)), dtype=np.int64)
    free = {*passages, *unasked}
    groups = []
    for seed in dice.permutation(seeds):
        if int(seed) in free:
            free.discard(int(seed))
            group = [int(seed)]
            for rival in rivals[int(seed)]:
                if len(group) == size:
                    break
                if rival in free:
                    free.discard(rival)
                    group.append(rival)
            groups.append(group)
    return groups


@dataclass(frozen=True)
class Contest:
    """One batch: passages, questions, and bool [questions, passages] of what answers what."""

    corpus: int
    passages: list[int]
    questions: list[int]
    relevant: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Contests:
    """All contrastive batches, in an order that depends on the seed alone."""

    corpora: Sequence[Pairs]
    rivals: Sequence[Sequence[Sequence[int]]]
    left_out: Sequence[set[int]]
    passages: int
    neighbours: int
    questions: int
    seed: int

    def epoch(self, number: int) -> list[Contest]:
        """Make the batches of one pass over all passages that have questions.

        Those that have none are rivals of the others, where BM25 takes them for answers.
        """
        made = []
        for corpus, pairs in enumerate(self.corpora):
            dice = np.random.default_rng([self.seed, number, corpus])
            kept = self.left_out[corpus]
            answered = [
                [] if n in kept else [q for q in own if kept.isdisjoint(pairs.relevant[q])]
                for n, own in enumerate(pairs.answered())
            ]
            usable = [n for n, own in enumerate(answered) if own]
            unasked = [n for n, own in enumerate(answered) if not own and n not in kept]
            groups = neighbourhoods(usable, unasked, self.rivals[corpus], self.neighbours, dice)
            flat = [n for place in dice.permutation(len(groups)) for n in groups[place]]
            for start in range(0, len(flat), self.passages):
                chosen = flat[start : start + self.passages]
                if len(chosen) > 1 and any(answered[n] for n in chosen):
                    made.append(self.contest(corpus, chosen, answered, dice))
        order = np.random.default_rng([self.seed, number]).permutation(len(made))
        return [made[place] for place in order]

    def contest(
        self, corpus: int, passages: list[int], answered: list[list[int]], dice: np.random.Generator
    ) -> Contest:
        """Take at most `questions` questions of each passage."""
        column = {passage: place for place, passage in enumerate(passages)}
        asked: dict[int, None] = {}
        for passage in passages:
            own = answered[passage]
            take = min(len(own), self.questions)
            asked.update((own[int(i)], None) for i in dice.permutation(len(own))[:take])
        questions = list(asked)
        relevant = np.zeros((len(questions), len(passages)), dtype=np.bool_)
        for row, question in enumerate(questions):
            for passage in self.corpora[corpus].relevant[question]:
                if passage in column:
                    relevant[row, column[passage]] = True
        return Contest(corpus, passages, questions, relevant)

    def batches(self, start: int) -> Iterator[Contest]:
        """Yield batches for ever, from the one numbered `start` on."""
        number = 0
        while True:
            made = self.epoch(number)
            if start < len(made):
                yield from made[start:]
            start = max(0, start - len(made))
            number += 1
