"""Questions with their passages, and batches whose passages are hard to tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.training.epochs import batches_from
from transforms.training.inputs import read_columns

#: The share of a corpus' passages that validation takes, and the most passages.
HELD_OUT = (0.05, 150)
#: How many other passages of a corpus validation searches too.
DISTRACTORS = 500


@dataclass(frozen=True)
class Pairs:
    """Passages and questions of one corpus; no text occurs twice.

    Attributes:
        name: the name of the corpus.
        passages: texts.
        questions: texts.
        relevant: for each question, the numbers of the passages that answer it.
        numbers: the number of each id's passage.
    """

    name: str
    passages: list[str]
    questions: list[str]
    relevant: list[list[int]]
    numbers: dict[str, int] = field(default_factory=dict)

    def questions_by_passage(self) -> list[list[int]]:
        """Return the numbers of the questions that each passage answers."""
        questions: list[list[int]] = [[] for _ in self.passages]
        for question, answers in enumerate(self.relevant):
            for passage in answers:
                questions[passage].append(question)
        return questions


def read_pairs(passages: Path, questions: Path) -> Pairs:
    """Read passages (id, text) and questions (question, relevant: ids) from Parquet files.

    Equal passages become one, and so do equal questions, with the answers of all of them.
    Otherwise training would teach that a copy is not an answer. Questions without a passage are
    left out.

    Raises:
        BadInput: a column is missing or has another type, an id occurs twice, a relevant id is not
            among the passages, or fewer than two questions have passages.
    """
    rows = read_columns(passages, "pairs", {"id": "id", "text": "text"})
    asked = read_columns(questions, "pairs", {"question": "text", "relevant": "ids"})
    numbers: dict[str, int] = {}
    texts: dict[str, int] = {}
    for name, text in zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True):
        if str(name) in numbers:
            raise BadInput(
                "pairs", str(passages), f"has the id {name} twice", "Give each passage its own id"
            )
        numbers[str(name)] = texts.setdefault(text, len(texts))
    answers: dict[str, dict[int, None]] = {}
    for question, names in zip(
        asked["question"].to_pylist(), asked["relevant"].to_pylist(), strict=True
    ):
        for name in names or []:
            if str(name) not in numbers:
                raise BadInput(
                    "pairs",
                    str(questions),
                    f"question {question!r} names the passage {name}, which {passages} does not "
                    "have",
                    "Give the passages that belong to the questions",
                )
            answers.setdefault(question, {})[numbers[str(name)]] = None
    if len(answers) < 2:
        raise BadInput(
            "pairs",
            str(questions),
            f"has {len(answers)} answered questions",
            "Give 2 or more",
        )
    return Pairs(
        passages.parent.name,
        list(texts),
        list(answers),
        [list(own) for own in answers.values()],
        numbers,
    )


def draw_held_out(pairs: Pairs, share: float, most: int, seed: int) -> set[int]:
    """Draw the passages for validation among those with questions; at least one.

    Training leaves out these passages and all questions that one of them answers.
    """
    answering = np.flatnonzero([bool(own) for own in pairs.questions_by_passage()])
    count = min(most, max(1, int(share * len(answering))))
    drawn = answering[np.random.default_rng([seed, 1]).permutation(len(answering))[:count]]
    return {int(n) for n in drawn}


def validation_pool(pairs: Pairs, held_out: set[int], distractors: int) -> list[int]:
    """Return the passages that validation searches: the held-out ones and some drawn at random.

    Among the few held-out passages alone, most models find nearly all answers.
    """
    drawn = np.random.default_rng(5).permutation(len(pairs.passages))[:distractors]
    return sorted(held_out.union(drawn.tolist()))


def group_neighbours(
    passages: Sequence[int],
    without_questions: Sequence[int],
    negatives: Sequence[Sequence[int]],
    size: int,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Split passages into groups of at most `size`: a random one and its free hard negatives.

    Args:
        passages: numbers of the passages that have questions.
        without_questions: numbers of passages that may only come in as hard negatives.
        negatives: the hard negatives of each passage, hardest first.
        size: passages of a group.
        rng: decides the order.
    """
    seeds = np.asarray(sorted(set(passages)), dtype=np.int64)
    free = {*passages, *without_questions}
    groups = []
    for seed in rng.permutation(seeds):
        if int(seed) in free:
            free.discard(int(seed))
            group = [int(seed)]
            for negative in negatives[int(seed)]:
                if len(group) == size:
                    break
                if negative in free:
                    free.discard(negative)
                    group.append(negative)
            groups.append(group)
    return groups


@dataclass(frozen=True)
class PairBatch:
    """One contrastive batch.

    Attributes:
        corpus: number of the corpus.
        passages: numbers of its passages.
        questions: numbers of its questions.
        relevant: which passage answers which question, bool [questions, passages].
        place: the number of its pass, and its own in the pass.
    """

    corpus: int
    passages: list[int]
    questions: list[int]
    relevant: npt.NDArray[np.bool_]
    place: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class PairData:
    """All contrastive batches, in an order that depends on the seed alone.

    Attributes:
        corpora: the pairs of each corpus.
        negatives: the hard negatives of each passage, for each corpus.
        held_out: the passages that validation takes, for each corpus.
        passages: passages of a batch.
        neighbours: passages of a batch that are hard negatives of each other, at most.
        questions: questions of a passage, at most.
        seed: the seed of order and sampling.
    """

    corpora: Sequence[Pairs]
    negatives: Sequence[Sequence[Sequence[int]]]
    held_out: Sequence[set[int]]
    passages: int
    neighbours: int
    questions: int
    seed: int

    def epoch(self, number: int) -> list[PairBatch]:
        """Return the batches of one pass over all passages that have questions.

        Passages without questions come in as hard negatives of others only.
        """
        made = []
        for corpus, pairs in enumerate(self.corpora):
            rng = np.random.default_rng([self.seed, number, corpus])
            held_out = self.held_out[corpus]
            questions = [
                [] if n in held_out else [q for q in own if held_out.isdisjoint(pairs.relevant[q])]
                for n, own in enumerate(pairs.questions_by_passage())
            ]
            usable = [n for n, own in enumerate(questions) if own]
            without = [n for n, own in enumerate(questions) if not own and n not in held_out]
            groups = group_neighbours(usable, without, self.negatives[corpus], self.neighbours, rng)
            flat = [n for place in rng.permutation(len(groups)) for n in groups[place]]
            for start in range(0, len(flat), self.passages):
                chosen = flat[start : start + self.passages]
                if len(chosen) > 1 and any(questions[n] for n in chosen):
                    made.append(self._batch(corpus, chosen, questions, rng))
        order = np.random.default_rng([self.seed, number]).permutation(len(made))
        return [replace(made[place], place=(number, at)) for at, place in enumerate(order)]

    def _batch(
        self, corpus: int, passages: list[int], questions: list[list[int]], rng: np.random.Generator
    ) -> PairBatch:
        """Sample at most `questions` questions of each passage."""
        column = {passage: place for place, passage in enumerate(passages)}
        asked: dict[int, None] = {}
        for passage in passages:
            own = questions[passage]
            take = min(len(own), self.questions)
            asked.update((own[int(i)], None) for i in rng.permutation(len(own))[:take])
        relevant = np.zeros((len(asked), len(passages)), dtype=np.bool_)
        for row, question in enumerate(asked):
            for passage in self.corpora[corpus].relevant[question]:
                if passage in column:
                    relevant[row, column[passage]] = True
        return PairBatch(corpus, passages, list(asked), relevant)

    def batches(self, start: int) -> Iterator[PairBatch]:
        """Return batches without end, from the one numbered `start` on."""
        return batches_from(self.epoch, start)
