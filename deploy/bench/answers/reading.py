"""How well a reader answers: given the right paragraph, or from a store by `albeam ask`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from deploy.bench.answers.corpora import SEED, Corpus, texts_of
from transforms.search.answering import ask
from transforms.search.options import RankOptions
from transforms.search.reader import Reader
from transforms.search.reading import Reading
from transforms.search.reading_options import READ, RERANKED, ReadingOptions
from transforms.search.store import Store
from transforms.tasks.metrics.text_metrics import answer_metrics

_AT_ONCE = 200
#: The share of the questions of SQuAD 2.0 that have no answer, as a figure.
ALWAYS_NONE = "always_none"


def read_right_passages(reader: Reader, corpus: Corpus) -> dict[str, Any]:
    """Return EM and F1 of a reader that is given the right paragraph of each question."""
    texts = texts_of(corpus.passages)
    pairs = [(each.question, texts[each.relevant[0]]) for each in corpus.asked]
    return _metrics(_spans(reader, pairs), [each.answers or () for each in corpus.asked])


def read_unanswerable(reader: Reader, data: Path, most: int) -> dict[str, Any]:
    """Return EM and F1 on SQuAD 2.0's questions, of which some have no answer.

    The reader's threshold was chosen on its training data. `ALWAYS_NONE` is the F1 of whoever
    always says that there is no answer.
    """
    rows = pq.read_table(data / "squad2" / "dev.parquet").to_pylist()
    drawn = np.sort(np.random.default_rng(SEED).permutation(len(rows))[:most])
    some = [rows[place] for place in drawn]
    texts = texts_of(data / "squad_dev" / "passages.parquet")
    pairs = [(row["question"], texts[row["passage"]]) for row in some]
    found = _metrics(_spans(reader, pairs, no_answer=True), [row["answers"] for row in some])
    none = float(np.mean([not row["answers"] for row in some]))
    found["values"][ALWAYS_NONE] = none
    return found


def answer_from_store(
    store: Store, corpus: Corpus, reader: str, reranker: str | None
) -> dict[str, Any]:
    """Return EM and F1 of answers by `albeam ask`, the first of each question, whatever it is."""
    depth = None if reranker is None else RERANKED
    models = Reading(ReadingOptions(depth, reranker, reader))
    questions = [each.question for each in corpus.asked]
    options = RankOptions(READ, store.mode())
    answered = ask(store, questions, options, models)
    answers = ["" if each.answer is None else each.answer.text for each in answered]
    return _metrics(answers, [each.answers or () for each in corpus.asked])


def _spans(
    reader: Reader, pairs: Sequence[tuple[str, str]], *, no_answer: bool = False
) -> list[str]:
    answers: list[str] = []
    for start in range(0, len(pairs), _AT_ONCE):
        found = reader.spans(pairs[start : start + _AT_ONCE], no_answer)
        answers += ["" if each is None else each.text for each in found]
    return answers


def _metrics(answers: Sequence[str], known: Sequence[Sequence[str]]) -> dict[str, Any]:
    return answer_metrics(answers, known).to_dict()
