"""Corpora with questions: those that were never trained on, or their test parts, sampled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import BadInput
from transforms.evaluation.questions import Question, load_questions

#: The corpora of the data folder whose questions measure.
CORPORA = ("squad_dev", "medquad", "fairytale_qa", "selqa", "scitldr", "fool_me_twice")
SEED = 0
_SPLIT = "split"


@dataclass(frozen=True)
class Corpus:
    """A corpus with the questions that are asked.

    Attributes:
        name: its name.
        passages: the file of its passages.
        asked: the questions, in the order of their file.
    """

    name: str
    passages: Path
    asked: list[Question]

    @property
    def fingerprint(self) -> str:
        """A digest of what is asked, and of the passages' file."""
        ids = "\n".join(each.question_id for each in self.asked)
        content = f"{self.passages.stat().st_size}\n{ids}"
        return hashlib.sha256(content.encode()).hexdigest()


def load_corpus(data: Path, name: str, most: int) -> Corpus:
    """Read a corpus of the data folder, and draw some of its questions.

    Args:
        data: the folder of the corpora.
        name: the corpus; of one with a column ``split``, the part ``test`` counts.
        most: how many questions are drawn, by a seed.

    Raises:
        BadInput: the corpus is not there.
    """
    files = [data / name / f"{file}.parquet" for file in ("passages", "questions")]
    if not all(file.is_file() for file in files):
        problem = "has no passages.parquet and questions.parquet"
        raise BadInput("corpora", str(data / name), problem, "Name folders of --data that have")
    passages, questions = files
    every = load_questions(str(questions))
    chosen = np.arange(len(every))
    if _SPLIT in pq.read_schema(questions).names:
        splits = pq.read_table(questions, columns=[_SPLIT])[_SPLIT]
        chosen = np.flatnonzero(np.array(splits.to_pylist()) == "test")
    drawn = np.random.default_rng(SEED).permutation(len(chosen))[:most]
    return Corpus(name, passages, [every[place] for place in chosen[np.sort(drawn)]])


def texts_of(passages: Path) -> dict[str, str]:
    """Return the text of each passage by its id."""
    table: pa.Table = pq.read_table(passages, columns=["id", "text"])
    return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
