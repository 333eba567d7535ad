"""The benchmark of answers: it measures each system once, goes on, and tells what it skips."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.bench.answers import __main__ as bench
from deploy.bench.answers.corpora import load_corpus
from deploy.bench.answers.report import compared, retrieval_table
from deploy.bench.answers.retrieval import METRICS, RERANKED, Measured
from deploy.bench.answers.targets import MINILM, SMALL, Target, gains, targets
from tests.support.models import make_model, make_pair_model, make_texts
from transforms.errors import BadInput

TEXTS = make_texts(30, seed=5, longest=12)


def write_data(folder: Path) -> Path:
    """Write a corpus like squad_dev with a test part, and questions like those of SQuAD 2.0."""
    ids = [f"d{number}" for number in range(len(TEXTS))]
    corpus = folder / "squad_dev"
    corpus.mkdir(parents=True)
    (folder / "squad2").mkdir()
    pq.write_table(pa.table({"id": ids, "text": TEXTS}), corpus / "passages.parquet")
    words = [text.split() for text in TEXTS]
    rows = {
        "question_id": [f"q{number}" for number in range(len(TEXTS))],
        "question": [" ".join(each[:3]) for each in words],
        "relevant": [[each] for each in ids],
        "answers": [each[:1] for each in words],
        "split": ["test" if number % 3 else "train" for number in range(len(TEXTS))],
    }
    pq.write_table(pa.table(rows), corpus / "questions.parquet")
    dev = {
        "question": rows["question"],
        "passage": ids,
        "answers": [[] if n % 2 else each[:1] for n, each in enumerate(words)],
    }
    pq.write_table(pa.table(dev), folder / "squad2" / "dev.parquet")
    return folder


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    words = ["bench", "--data", str(data), "--work", str(tmp_path / "work")]
    words += ["--corpora", "squad_dev", "gone", "--questions", "12", "--reranked", "4"]
    words += ["--model", str(make_model(tmp_path / "small"))]
    words += ["--minilm", str(make_model(tmp_path / "other", seed=1))]
    words += ["--reader", str(make_pair_model(tmp_path / "reader", "read", 2))]
    words += ["--reranker", str(make_pair_model(tmp_path / "ranker", "rank"))]
    words += ["--json", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", words)
    assert bench.main() == 1
    printed = capsys.readouterr().out
    assert f"| squad_dev | {SMALL} | {RERANKED} | 4 |" in printed
    assert "skipped: e5-small: give its folder with --e5" in printed
    assert "gone" in printed
    assert "missed" in printed
    found = json.loads((tmp_path / "found.json").read_text())
    rows = {(row["system"], row["mode"]): row for row in found["retrieval"]}
    for system in (SMALL, MINILM):
        for mode in ("dense", "lexical", "hybrid"):
            assert rows[system, mode]["questions"] == 12
            assert set(rows[system, mode]["metrics"]) == set(METRICS)
    assert rows[SMALL, "lexical"]["less_minilm"]["p"] == 1
    assert rows[MINILM, "dense"]["less_minilm"] is None
    assert len(found["reading"]) == 4
    assert found["numbers"]["squad_dev"][SMALL]["rerank_ms"] > 0

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    for name in ("embedded", "lexical_runs"):
        monkeypatch.setattr(f"deploy.bench.answers.retrieval.{name}", never)
    for name in ("read_right_passages", "read_unanswerable", "answer_from_store"):
        monkeypatch.setattr(bench, name, never)
    assert bench.main() == 1
    assert json.loads((tmp_path / "found.json").read_text()) == found


def test_the_questions_are_a_sample_of_the_test_part(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    some, all_ = load_corpus(data, "squad_dev", 7), load_corpus(data, "squad_dev", 1_000)
    assert len(all_.asked) == 20
    assert {each.question_id for each in some.asked} < {each.question_id for each in all_.asked}
    assert some.asked == load_corpus(data, "squad_dev", 7).asked
    assert some.fingerprint != all_.fingerprint
    with pytest.raises(BadInput):
        load_corpus(data, "gone", 7)


def measured(dense: float, lexical: float, hybrid: float, questions: int = 50) -> Measured:
    values = dict(zip(("dense", "lexical", "hybrid"), (dense, lexical, hybrid), strict=True))
    return Measured(
        {mode: dict.fromkeys(METRICS, np.full(questions, each)) for mode, each in values.items()},
        {},
    )


def test_targets_are_met_missed_or_not_measured() -> None:
    found = {
        "squad_dev": {SMALL: measured(0.8, 0.84, 0.9), MINILM: measured(0.7, 0.84, 0.9)},
        "selqa": {SMALL: measured(0.6, 0.5, 0.59), MINILM: measured(0.7, 0.5, 0.7)},
    }
    assert gains(found) == pytest.approx({"squad_dev": 0.06, "selqa": -0.01})
    every = {each.name: each for each in targets(found, {SMALL: 0.84}, {})}
    assert not every[f"{SMALL}, squad_dev, dense, MRR@10"].missed
    assert every[f"{SMALL} less {MINILM}, selqa, dense, MRR@10"].missed
    assert every["hybrid less its better half, selqa"].missed
    assert not every["hybrid less its better half, mean of the corpora"].missed
    assert every["SQuAD 1.1 dev, right paragraph, F1"].reached is None
    assert "not measured" in str(every["SQuAD 1.1 dev, right paragraph, F1"])
    assert Target("ms", 120, 130, below=True).missed
    assert not Target("ms", 120, 110, below=True).missed


def test_a_system_is_compared_with_the_same_mode_of_minilm() -> None:
    systems = {
        MINILM: measured(0.5, 0.6, 0.7),
        SMALL: measured(0.6, 0.6, 0.8),
        "bm25s": Measured({"bm25": measured(0.4, 0, 0).modes["dense"]}, {}),
    }
    for system, mode, gain in ((SMALL, "hybrid", 0.1), ("bm25s", "bm25", -0.1)):
        difference = compared(systems, system, mode)
        assert difference is not None
        assert difference.b - difference.a == pytest.approx(gain)
        assert difference.p < 0.05
    assert compared(systems, MINILM, "dense") is None
    assert compared({SMALL: systems[SMALL]}, SMALL, "dense") is None
    table = retrieval_table({"c": systems})
    assert "| c | albeam-small | hybrid | 50 | 0.800 (0.800 to 0.800) |" in table
