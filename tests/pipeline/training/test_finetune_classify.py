"""Fine-tuning of a tiny network to classify: what it learns, writes, resumes and refuses."""

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
from safetensors.numpy import load_file

from pipeline.training.finetune_classify import finetune_classify
from pipeline.training.task_options import ClassifyOptions
from tests.support.commands import printed
from tests.support.head_training import assert_resumes, quiet
from tests.support.models import WORDS, make_model
from tests.support.raising import raises
from transforms.errors import BadInput

#: The words that tell the classes apart.
SIGNS = {"water": "river", "sound": "music", "town": "bridge"}


def write_rows(path: Path, count: int, seed: int = 0, multi: bool = False) -> Path:
    """Write texts of which one word is the sign of each label."""
    dice = random.Random(seed)
    others = [word for word in WORDS if word not in SIGNS.values()]
    texts: list[str] = []
    labels: list[Any] = []
    for _ in range(count):
        chosen = dice.sample(list(SIGNS), dice.randint(0, 2) if multi else 1)
        words = dice.choices(others, k=dice.randint(2, 10)) + [SIGNS[name] for name in chosen]
        dice.shuffle(words)
        texts.append(" ".join(words))
        labels.append(chosen if multi else chosen[0])
    kind = pa.list_(pa.string()) if multi else pa.string()
    pq.write_table(pa.table({"text": texts, "label": pa.array(labels, kind)}), path)
    return path


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> ClassifyOptions:
    return ClassifyOptions(
        model=albert,
        data=(write_rows(tmp_path / "train.parquet", 240),),
        output=tmp_path / "classifier",
        work=tmp_path / "work",
        steps=80,
        rate=3e-3,
        batch_tokens=512,
        evaluate_every=40,
        precision="float32",
    )


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_classifier_learns_and_transformers_gives_the_same_predictions(
    options: ClassifyOptions, tmp_path: Path, family: str
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    model = make_model(tmp_path / family, family)
    validation = write_rows(tmp_path / "validation.parquet", 60, seed=9)
    result = finetune_classify(replace(options, model=model, validation=(validation,)), quiet)
    assert result.score == result.metrics["accuracy"] > 0.8
    rows = pq.read_table(validation).to_pydict()
    guess = pipeline("text-classification", str(options.output), top_k=None)
    found = [max(each, key=lambda one: one["score"])["label"] for each in guess(rows["text"])]
    right = np.mean([one == other for one, other in zip(found, rows["label"], strict=True)])
    assert right == pytest.approx(result.score)
    network = AutoModelForSequenceClassification.from_pretrained(options.output)
    tokens = AutoTokenizer.from_pretrained(options.output)(rows["text"][0], return_tensors="pt")
    scores = network(**tokens).logits.softmax(-1)[0].tolist()
    by_name = {each["label"]: each["score"] for each in guess(rows["text"][:1])[0]}
    assert by_name == pytest.approx(dict(zip(sorted(SIGNS), scores, strict=True)), abs=1e-4)
    head = json.loads((options.output / "head.json").read_text())
    assert (head["kind"], head["task"]) == ("network", "classify")
    assert head["classes"] == {"names": sorted(SIGNS), "integers": False, "several": False}
    card = (options.output / "README.md").read_text()
    assert "text-classification" in card
    assert f"{result.score:.4f}" in card
    assert len((options.output / "history.jsonl").read_text().splitlines()) == 2


def test_several_labels_have_scores_of_their_own(options: ClassifyOptions, tmp_path: Path) -> None:
    from transformers import pipeline

    data = write_rows(tmp_path / "multi.parquet", 240, multi=True)
    several = replace(options, data=(data,), multi_label=True, class_weights="balanced", steps=250)
    result = finetune_classify(several, quiet)
    assert result.metrics["micro_f1"] > 0.8
    guess = pipeline("text-classification", str(options.output), top_k=None)
    scores = {each["label"]: each["score"] for each in guess(["river music"])[0]}
    assert sum(scores.values()) > 1.2


def test_a_classifier_with_every_control_resumes_bit_for_bit(
    options: ClassifyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = ("swap", "delete", "case", "synonym")
    broken = replace(
        options, steps=8, evaluate_every=3, dropout=0.2, augment=ways, train="lora", lora_rank=2
    )
    assert_resumes(finetune_classify, broken, monkeypatch)


def test_the_head_alone_can_be_trained(options: ClassifyOptions) -> None:
    finetune_classify(replace(options, train="head", steps=3), quiet)
    before = load_file(options.model / "model.safetensors")
    after = load_file(options.output / "model.safetensors")
    for name, weight in before.items():
        assert np.array_equal(after[f"albert.{name}"], weight), name


def test_long_texts_are_read_in_windows(options: ClassifyOptions, tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    texts = ["river " + "stone " * 20_000, "music", "river", "", "music music", "river river"]
    labels = ["a", "b", "a", "c", "b", "a"]
    pq.write_table(pa.table({"text": texts, "label": labels}), path)
    assert max(map(len, texts)) > 100_000
    lines: list[str] = []
    one = replace(options, data=(path,), validation=(path,), steps=1, max_tokens=64)
    result = finetune_classify(one, lines.append)
    assert any("windows" in line for line in lines)
    # A blank text is no row, and its class none.
    assert result.rejected == {"blank text": 1}
    assert sum("1 rows of --data are left out: blank text" in line for line in lines) == 1
    assert sum("1 rows of --validation are left out: blank text" in line for line in lines) == 1
    assert any("5 texts of 2 classes" in line for line in lines)
    pq.write_table(pa.table({"text": ["", " \n"], "label": ["a", "b"]}), path)
    with raises(BadInput, "data", path, "has no text that is not blank"):
        finetune_classify(one, quiet)


def test_the_command_prints_what_it_trained(
    options: ClassifyOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(options.model), "--data", str(options.data[0])]
    words += ["--output", str(options.output), "--steps", "2", "--augment", "swap,delete,synonym"]
    found = printed(capsys, "finetune", "classify", *words)
    assert (found["steps"], found["output"]) == (2, str(options.output))
    assert found["metrics"]["accuracy"] == found["score"]
    assert (options.output.with_name("classifier.work") / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("labels", "option", "problem"),
    [
        (["a", None, "b"], "data", "row 1"),
        (["a", "a", "a"], "data", "one class"),
        (["a", "", "b"], "data", "label"),
    ],
)
def test_labels_that_cant_be_learnt_are_refused(
    options: ClassifyOptions, tmp_path: Path, labels: list[str | None], option: str, problem: str
) -> None:
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"text": ["x", "y", "z"], "label": labels}), path)
    with raises(BadInput, option, path, problem):
        finetune_classify(replace(options, data=(path,)), quiet)


def test_a_class_of_the_validation_must_occur_in_training(
    options: ClassifyOptions, tmp_path: Path
) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"text": ["x", "y"], "label": ["water", "fire"]}), path)
    with raises(BadInput, "validation", path, "fire"):
        finetune_classify(replace(options, validation=(path,)), quiet)


def test_what_cant_be_trained_is_refused(options: ClassifyOptions, tmp_path: Path) -> None:
    with raises(BadInput, "model"):
        finetune_classify(replace(options, model=tmp_path / "none"), quiet)
    with raises(BadInput, "model", problem="distilbert"):
        model = make_model(tmp_path / "distilbert", "distilbert")
        finetune_classify(replace(options, model=model), quiet)
    with raises(BadInput, "max_tokens", 129, "128"):
        finetune_classify(replace(options, max_tokens=129), quiet)
    with raises(BadInput, "data"):
        finetune_classify(replace(options, data=(tmp_path / "none.parquet",)), quiet)
    with raises(BadInput, "data", problem="'body'"):
        finetune_classify(replace(options, text_column="body"), quiet)
    with raises(BadInput, "output"):
        finetune_classify(replace(options, output=tmp_path), quiet)


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"augment": ("swap", "translate")}, "augment"),
        ({"class_weights": "some"}, "class_weights"),
        ({"held_out": 0.6}, "held_out"),
        ({"max_tokens": 4}, "max_tokens"),
    ],
)
def test_options_are_checked(change: dict[str, Any], option: str) -> None:
    good = ClassifyOptions(model=Path("m"), data=(), output=Path("o"), work=Path("w"))
    with raises(BadInput, option):
        replace(good, **change)
    with raises(BadInput, "output"):
        replace(good, output=Path("m"))
