"""Fine-tuning of a tiny network to read: what it learns, writes, resumes and refuses."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.training.finetune_read import finetune_read
from pipeline.training.task_options import ReadOptions
from pipeline.training.task_training import hold_out_groups
from tests.support.commands import printed
from tests.support.head_training import PLACES, assert_resumes, quiet
from tests.support.models import WORDS, make_model
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.reader import Reader
from transforms.tasks.metrics.answer_scores import score_answers
from transforms.tasks.training_options import AUGMENTATIONS

EXACT = Placement("cpu", "float32")
KINDS = pa.schema(
    [("question", pa.string()), ("context", pa.string()), ("answers", pa.list_(pa.string()))]
)


def sample(count: int, seed: int, none: float = 0.0, longest: int = 8) -> list[dict[str, Any]]:
    """Return questions for the place in a passage; a share of the passages has none."""
    dice = random.Random(seed)
    others = [word for word in WORDS if word not in PLACES]
    made = []
    for _ in range(count):
        words = dice.choices(others, k=dice.randint(3, longest))
        answer = [] if dice.random() < none else [dice.choice(PLACES)]
        words[len(words) // 2 : len(words) // 2] = answer
        question = dice.choice(["music letter", "history"])
        made.append({"question": question, "context": " ".join(words), "answers": answer})
    return made


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, KINDS), path)
    return path


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> ReadOptions:
    return ReadOptions(
        model=albert,
        data=(write_rows(tmp_path / "train.parquet", sample(240, 0)),),
        output=tmp_path / "reader",
        work=tmp_path / "work",
        steps=120,
        rate=3e-3,
        batch_tokens=512,
        evaluate_every=60,
        precision="float32",
        max_tokens=40,
    )


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_reader_learns_and_transformers_and_searches_give_the_same_answers(
    options: ReadOptions, tmp_path: Path, family: str
) -> None:
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    rows = sample(40, 9, longest=40)
    validation = write_rows(tmp_path / "validation.parquet", rows)
    model = make_model(tmp_path / family, family)
    result = finetune_read(replace(options, model=model, validation=(validation,)), quiet)
    assert result.score > 0.8
    reader = Reader(str(options.output), EXACT)
    assert reader.model.limit == 40
    found = reader.spans([(row["question"], row["context"]) for row in rows])
    texts = ["" if each is None else each.text for each in found]
    exact, f1 = score_answers(texts, [row["answers"] for row in rows])
    assert result.metrics["score"] == pytest.approx(float(f1.mean()))
    assert result.metrics["exact_match"] == pytest.approx(float(exact.mean()))
    network = AutoModelForQuestionAnswering.from_pretrained(options.output).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.output)
    short = 0
    for row, answer in zip(rows, found, strict=True):
        given = tokenizer(
            row["question"], row["context"], return_tensors="pt", return_offsets_mapping=True
        )
        if given["input_ids"].shape[1] > 40:
            continue
        short += 1
        offsets = given.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            output = network(**given)
        inside = [place for place, owner in enumerate(given.sequence_ids(0)) if owner == 1]
        start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
        spans = [(a, b) for a in inside for b in inside if a <= b < a + 30]
        first, last = max(spans, key=lambda span: start[span[0]] + end[span[1]])
        assert answer is not None
        assert answer.score == pytest.approx(start[first] + end[last], abs=1e-4)
        assert answer.text == row["context"][offsets[first][0] : offsets[last][1]].strip()
    assert 5 < short < 35
    assert given["token_type_ids"].max() == 1
    head = json.loads((options.output / "head.json").read_text())
    assert (head["task"], head["max_tokens"], head["threshold"]) == ("read", 40, 0.0)
    assert "Reader" in (options.output / "README.md").read_text()
    assert len((options.output / "history.jsonl").read_text().splitlines()) == 2


def test_a_reader_finds_that_there_is_no_answer(options: ReadOptions, tmp_path: Path) -> None:
    rows = sample(60, 9, none=0.5)
    changed = replace(
        options,
        data=(write_rows(tmp_path / "some.parquet", sample(240, 0, none=0.5)),),
        validation=(write_rows(tmp_path / "validation.parquet", rows),),
        no_answer=True,
    )
    result = finetune_read(changed, quiet)
    assert result.metrics["answerable"] > 0.8
    threshold = json.loads((options.output / "head.json").read_text())["threshold"]
    assert threshold == result.metrics["threshold"]
    reader = Reader(str(options.output), EXACT)
    assert reader.threshold == threshold
    pairs = [(row["question"], row["context"]) for row in rows]
    found = reader.spans(pairs, no_answer=True)
    texts = ["" if each is None else each.text for each in found]
    _, f1 = score_answers(texts, [row["answers"] for row in rows])
    assert result.score == pytest.approx(float(f1.mean()))
    assert None in found
    reader.threshold = 1e6
    assert None not in reader.spans(pairs, no_answer=True)
    head = json.loads((options.output / "head.json").read_text())
    for wrong in ("high", None, True, float("nan")):
        text = json.dumps({**head, "threshold": wrong})
        (options.output / "head.json").write_text(text)
        with raises(BadInput, "reader", options.output):
            Reader(str(options.output), EXACT)


def test_a_reader_resumes_bit_for_bit(
    options: ReadOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_rows(tmp_path / "long.parquet", sample(60, 3, longest=60))
    broken = replace(
        options,
        data=(data,),
        dropout=0.1,
        steps=8,
        evaluate_every=3,
        window_tokens=24,
        augment=AUGMENTATIONS,
    )
    assert_resumes(finetune_read, broken, monkeypatch)
    with raises(BadInput, "checkpoint", problem="window_tokens"):
        finetune_read(replace(broken, resume=True, window_tokens=20), quiet)


def test_the_command_reads_passages_by_id_and_counts_rejects(
    options: ReadOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sample(30, 0)
    passages, asked = tmp_path / "passages.parquet", tmp_path / "asked.parquet"
    texts = [row["context"] for row in rows] + ["stone " * 20_000 + "river"]
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), passages)
    table = pa.table(
        {
            "question": [*(row["question"] for row in rows), "music", "music", "garden " * 15_000],
            "relevant": [[str(n)] for n in (*range(31), 99, 1)],
            "answers": [*(row["answers"] for row in rows), ["river"], ["river"], ["nowhere"]],
        }
    )
    pq.write_table(table, asked)
    words = ["--model", str(options.model), "--data", str(asked), "--passages", str(passages)]
    words += ["--output", str(options.output), "--steps", "2", "--train", "lora"]
    found = printed(capsys, "finetune", "read", *words)
    assert found["steps"] == 2
    assert found["rejected"] == {"no passage": 1, "an answer that its passage lacks": 1}
    assert (options.output.with_name("reader.work") / "checkpoint.pt").exists()


def test_rows_that_cant_be_trained_on_are_refused(options: ReadOptions, tmp_path: Path) -> None:
    def using(rows: list[dict[str, Any]], **changes: Any) -> ReadOptions:
        return replace(options, data=(write_rows(tmp_path / "bad.parquet", rows),), **changes)

    one = sample(1, 0)
    with raises(BadInput, "data", tmp_path / "bad.parquet", "one passage"):
        finetune_read(using(one * 3), quiet)
    with raises(BadInput, "data", tmp_path / "bad.parquet", "no answers"):
        finetune_read(using(sample(9, 0, none=1.0), no_answer=True), quiet)
    with raises(BadInput, "data", tmp_path / "bad.parquet", "9 with no answer"):
        finetune_read(using(sample(9, 0, none=1.0)), quiet)
    with raises(BadInput, "passages"):
        finetune_read(replace(options, passages=(tmp_path / "none.parquet",)), quiet)
    with raises(BadInput, "window_tokens", 41, "40"):
        replace(options, window_tokens=41)
    with raises(BadInput, "window_tokens", 8):
        replace(options, window_tokens=8)


def test_questions_that_are_held_out_share_no_passage_with_others() -> None:
    groups = np.repeat(np.arange(40), np.arange(40) % 5 + 1)
    kept, held_out = hold_out_groups(groups, 0.1, 3)
    assert sorted([*kept, *held_out]) == list(range(len(groups)))
    assert len(set(groups[held_out])) == 4
    assert not set(groups[kept]) & set(groups[held_out])
    assert len(set(groups[hold_out_groups(groups, 0.001, 3)[1]])) == 1
    assert not np.array_equal(held_out, hold_out_groups(groups, 0.1, 4)[1])
