"""How well the vectors of a system answer questions: the whole way from texts to a ranking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline.bench.corpora import QUESTIONS, REAL
from pipeline.bench.options import SampleOptions
from transforms.errors import BadInput
from transforms.evaluation.metrics import measure
from transforms.evaluation.questions import Question, load_questions
from transforms.models.identity import ModelIdentity

Vectors = npt.NDArray[np.float32]
_DEPTH = 10


@dataclass(frozen=True)
class Sample:
    """Passages to rank, and questions that some of them answer.

    Attributes:
        ids: the passages' ids.
        texts: the passages.
        questions: the questions.
    """

    ids: list[str]
    texts: list[str]
    questions: list[Question]

    def facts(self) -> dict[str, Any]:
        """Return the numbers of passages and questions."""
        return {"passages": len(self.ids), "questions": len(self.questions)}


def take_sample(data: Path, options: SampleOptions, seed: int = 0) -> Sample:
    """Draw questions, and passages among which are the answers of all of these questions.

    Raises:
        BadInput: the folder has no questions.
    """
    file = data / QUESTIONS
    if not (file.is_file() and (data / REAL).is_file()):
        problem = f"has no {REAL} and {QUESTIONS}"
        raise BadInput("data", str(data), problem, "Give a folder with them, or no --questions")
    chance = np.random.default_rng(seed)
    asked = load_questions(str(file))
    asked = [asked[place] for place in chance.permutation(len(asked))[: options.questions]]
    table = pq.read_table(data / REAL, columns=["id", "text"]).to_pydict()
    needed = {name for question in asked for name in question.relevant}
    order = chance.permutation(len(table["id"])).tolist()
    order.sort(key=lambda place: str(table["id"][place]) not in needed)
    count = len(order) if options.passages is None else max(options.passages, len(needed))
    kept = sorted(order[:count])
    ids, texts = ([str(table[name][place]) for place in kept] for name in ("id", "text"))
    return Sample(ids, texts, asked)


def ndcg(
    sample: Sample, identity: ModelIdentity, embed: Callable[[Sequence[str]], Vectors | None]
) -> float | None:
    """Return the nDCG@10 of the sample, ranked by cosines; None if nothing was embedded.

    Args:
        sample: the passages and the questions.
        identity: the model, whose prompts are set before the texts.
        embed: returns a vector for each text.
    """
    passages = embed([identity.passage_prompt + text for text in sample.texts])
    if passages is None:
        return None
    questions = embed([identity.query_prompt + one.question for one in sample.questions])
    assert questions is not None
    scores = _unit(questions) @ _unit(passages).T
    runs = {
        question.question_id: [
            (sample.ids[place], float(row[place]))
            for place in np.argsort(-row, kind="stable")[:_DEPTH]
        ]
        for question, row in zip(sample.questions, scores, strict=True)
    }
    return measure(sample.questions, runs, _DEPTH)["ndcg@10"]


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
