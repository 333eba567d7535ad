"""Distillation of a tiny student: what it learns, resumes and refuses."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from pipeline.training.distill import distill
from pipeline.training.options import DistillOptions
from tests.support.terminal import start
from tests.support.training import kill_at, record_history, sample_texts
from transforms.errors import AlbeamError, BadInput
from transforms.training.export import write_json
from transforms.training.options import StudentShape
from transforms.training.student import Student
from transforms.training.trainer import Trainer

SVG = "{http://www.w3.org/2000/svg}"


def same_weights(one: Path, other: Path) -> bool:
    left, right = (load_file(model / "model.safetensors") for model in (one, other))
    return left.keys() == right.keys() and all(
        np.array_equal(left[name], right[name]) for name in left
    )


def test_distill_learns_and_writes_a_loadable_model(
    options: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    seen = record_history(monkeypatch)
    lines: list[str] = []
    result = distill(options, lines.append)
    assert result.score == max(each["score"] for each in seen)
    assert {each["step"]: each["score"] for each in seen}[result.best_step] == result.score
    assert lines[-1].endswith(f"of step {result.best_step}, score {result.score:.4f}")
    assert seen[-2]["loss"] < 0.6 * seen[0]["loss"]
    assert seen[-2]["words"] < 0.6  # the share of the teacher's variance that is not explained
    assert seen[-1]["score"] > 0.85
    records = (options.output / "history.jsonl").read_text().splitlines()
    assert [json.loads(record) for record in records] == seen
    card = (options.output / "README.md").read_text()
    assert f"| score | {result.score:.4f} |" in card
    assert "lora_rank" not in card
    drawn = ElementTree.parse(options.output / "distill.svg").getroot()
    titles = [text.text or "" for text in drawn.iter(f"{SVG}text") if text.get("class") == "title"]
    assert [title.partition(":")[0] for title in titles] == ["loss", "score", "cosine", "words"]
    assert all(len(line.get("points", "").split()) > 1 for line in drawn.iter(f"{SVG}polyline"))
    model = SentenceTransformer(str(options.output), device="cpu")
    teacher = SentenceTransformer(str(options.teacher), device="cpu")
    fresh = sample_texts(50, seed=99)
    ours, theirs = model.encode(fresh).astype(np.float32), teacher.encode(fresh)
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=2e-3)
    assert float((ours * theirs).sum(1).mean()) > 0.8
    assert model.max_seq_length == 48
    saved = json.loads((options.output / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"]) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_distill_resumes_bit_for_bit(
    options: DistillOptions, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(options, epochs=2, precision=precision, dropout=0.1)
    whole = replace(broken, output=tmp_path / "whole", work=tmp_path / "whole.work")
    distill(whole)
    revive = kill_at(monkeypatch, 13)
    with pytest.raises(KeyboardInterrupt):
        distill(broken)
    revive()
    distill(replace(broken, resume=True))
    assert same_weights(whole.output, broken.output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_a_checkpoint(
    options: DistillOptions, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(options, epochs=2)
    whole = replace(broken, output=tmp_path / "whole", work=tmp_path / "whole.work")
    expected = distill(whole)
    check_finite = Trainer.check_finite

    def stop_at(step: int) -> None:
        def interrupted(self: Trainer, loss: float, norm: float) -> None:
            check_finite(self, loss, norm)
            if self.state.step == step:
                signal.raise_signal(number)

        monkeypatch.setattr(Trainer, "check_finite", interrupted)

    came: list[int] = []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        # At the last step too: the evaluation that it skips is made after the resume.
        for resume, step in ((False, 4), (True, expected.steps - 1)):
            stop_at(step)
            with pytest.raises(KeyboardInterrupt):
                distill(replace(broken, resume=resume))
            assert came.pop() == number
            saved = torch.load(broken.work / "checkpoint.pt", weights_only=True)
            assert json.loads(saved["state"])["step"] == step + 1
            assert not broken.output.exists()
    finally:
        signal.signal(number, before)
    stop_at(-1)
    result = distill(replace(broken, resume=True))
    assert result.best_step == expected.best_step
    assert same_weights(whole.output, broken.output)


def test_an_error_is_raised_though_an_interrupt_waits(
    options: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Trainer) -> None:
        signal.raise_signal(signal.SIGINT)
        raise OSError("disk full")

    monkeypatch.setattr(Trainer, "save", full)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="disk full"):
        distill(replace(options, epochs=0.1))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_command_leaves_a_checkpoint_and_names_the_remedy(
    options: DistillOptions,
) -> None:
    sizes = "--vocab-size 70 --hidden 32 --heads 4 --intermediate 64 --embedding 16 --positions 64"
    process = start(
        "distill", "--teacher", str(options.teacher), "--texts", str(options.texts[0]),
        "--output", str(options.output), *sizes.split(), "--max-tokens", "48",
        "--batch-tokens", "512", "--epochs", "900", "--held-out", "60", "--evaluate-every", "10",
    )  # fmt: skip
    assert process.stdout is not None
    assert any("step 10/" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == (
        "albeam: interrupted; run the same command again with --resume to continue"
    )
    work = options.output.with_name(f"{options.output.name}.work")
    saved = torch.load(work / "checkpoint.pt", weights_only=True)
    assert json.loads(saved["state"])["step"] >= 10


def test_distill_refuses_to_resume_with_other_settings(
    options: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        distill(options)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"rate": 1e-3}, "was made with rate 0.002, not 0.001"),
        ({"evaluate_every": 10}, "was made with evaluate_every 20, not 10"),
        ({"precision": "bfloat16"}, "was made with dtype float32, not bfloat16"),
    ]
    for change, problem in changes:
        with pytest.raises(BadInput) as caught:
            distill(replace(options, resume=True, **change))
        assert caught.value.value == str(options.work / "checkpoint.pt")
        assert caught.value.problem == problem
    with pytest.raises(BadInput) as caught:
        distill(options)
    assert (caught.value.option, caught.value.value) == ("work", str(options.work))
    assert (options.work / "checkpoint.pt").exists()


def test_distill_trains_a_student_further(
    options: DistillOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = record_history(monkeypatch)
    distill(options)
    first, reached = seen[0]["score"], seen[-1]["score"]
    more = replace(
        options,
        student=options.output,
        shape=StudentShape(),
        output=tmp_path / "more",
        work=tmp_path / "more.work",
        epochs=3,
        rate=1e-3,
    )
    seen.clear()
    distill(more)
    assert seen[0]["score"] > (first + reached) / 2
    assert max(each["score"] for each in seen) > reached
    for name in ("tokenizer.json", "config.json"):
        assert (more.output / name).read_bytes() == (options.output / name).read_bytes()
    # A resume from other weights would give another model.
    other = replace(more, student=more.output, resume=True)
    with pytest.raises(BadInput) as caught:
        distill(other)
    assert caught.value.problem.startswith("was made with student")


def test_a_student_that_cant_learn_from_the_teacher_is_refused(
    options: DistillOptions, distilled: DistillOptions, tmp_path: Path
) -> None:
    student = tmp_path / "student"
    further = replace(options, student=student, shape=StudentShape())
    with pytest.raises(BadInput) as caught:
        distill(further)
    assert (caught.value.option, caught.value.problem) == ("model", "has no config.json")
    shutil.copytree(distilled.output, student)
    config = json.loads((student / "config.json").read_text())
    for name, value, option, problem in (
        ("max_position_embeddings", 40, "max_tokens", "must not exceed the 40 positions"),
        ("num_hidden_groups", 1, "weights", "by the model's config None"),
        ("hidden_size", 64, "student", "has vectors of 64 dimensions"),
    ):
        write_json(student / "config.json", config | {name: value})
        with pytest.raises(BadInput) as caught:
            distill(further)
        assert caught.value.option == option
        assert problem in caught.value.problem


def test_controls_decide_how_long_and_what_is_trained(options: DistillOptions) -> None:
    result = distill(replace(options, steps=8, evaluate_every=4, train="embeddings", warmup=0.2))
    assert result.steps == 8
    first = replace(options, steps=1, rate=1e-12, work=options.work / "first")
    first = replace(first, output=options.output.with_name("first"))
    distill(first)
    trained, fresh = (load_file(o.output / "model.safetensors") for o in (options, first))
    changed = {name for name in fresh if not np.array_equal(fresh[name], trained[name])}
    assert "embeddings.word_embeddings.weight" in changed
    assert all(name.startswith("embeddings.") for name in changed)


def test_too_few_texts_are_refused(options: DistillOptions, tmp_path: Path) -> None:
    few = tmp_path / "few.parquet"
    pq.write_table(pa.table({"text": ["one text", "", None]}), few)
    with pytest.raises(BadInput) as caught:
        distill(replace(options, texts=(few,)))
    assert caught.value.option == "texts"
    assert "hold 1 different texts" in caught.value.problem
    assert not (options.work / "checkpoint.pt").exists()


def test_a_teacher_of_another_type_is_refused(options: DistillOptions, tmp_path: Path) -> None:
    folder = tmp_path / "mpnet"
    shutil.copytree(options.teacher, folder)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"model_type": "mpnet"})
    with pytest.raises(BadInput) as caught:
        distill(replace(options, teacher=folder))
    assert (caught.value.option, caught.value.value) == ("teacher", str(folder))
    assert caught.value.problem.startswith("is of type mpnet")


def test_a_training_that_diverges_stops_before_it_damages_the_weights(
    options: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Student.distillation_loss
    steps: list[int] = []

    def diverging(self: Student, *rest: Any) -> tuple[torch.Tensor, dict[str, float]]:
        steps.append(1)
        found, parts = loss(self, *rest)
        return (found * float("nan") if len(steps) == 4 else found), parts

    monkeypatch.setattr(Student, "distillation_loss", diverging)
    with pytest.raises(AlbeamError) as caught:
        distill(options)
    assert (caught.value.option, caught.value.value) == ("rate", 0.002)
    assert caught.value.problem.startswith("step 4 has the loss nan")
    assert not options.output.exists()
