"""Fine-tuning of a tiny student: what it learns, keeps, resumes and refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from deploy.model.soup import soup
from pipeline.training.distill import distill
from pipeline.training.finetune import finetune
from pipeline.training.options import DistillOptions, FinetuneOptions
from tests.support.head_training import assert_resumes, history, quiet
from tests.support.raising import raises
from tests.support.training import SHAPE, kill_at, record_history, write_pairs
from transforms.errors import BadInput
from transforms.tasks.training_options import AUGMENTATIONS
from transforms.training.checkpoints import State, check_same_settings, write_checkpoint


@pytest.mark.slow
def test_finetune_learns_resumes_and_keeps_the_geometry(
    options: DistillOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(replace(options, epochs=2))
    tuning = FinetuneOptions(
        model=options.output,
        pairs=(write_pairs(tmp_path / "pairs"),),
        output=tmp_path / "tuned",
        work=tmp_path / "tuned.work",
        distilled=options.work,
        passages=16,
        epochs=6,
        rate=2e-3,
        precision="float32",
        evaluate_every=8,
        batch_tokens=512,
    )
    seen = record_history(monkeypatch)
    finetune(tuning)
    assert seen[-2]["contrastive"] < 0.9 * seen[1]["contrastive"]
    assert seen[-1]["teacher"] > seen[0]["teacher"] - 0.1
    assert (tuning.output / "finetune.svg").read_text().startswith("<svg ")
    assert "| questions | " in (tuning.output / "README.md").read_text()
    short = replace(tuning, epochs=2)
    whole = replace(short, output=tmp_path / "whole", work=tmp_path / "whole.work")
    finetune(whole)
    again = replace(short, output=tmp_path / "again", work=tmp_path / "again.work")
    revive = kill_at(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        finetune(again)
    revive()
    finetune(replace(again, resume=True))
    left, right = (load_file(o.output / "model.safetensors") for o in (whole, again))
    assert all(np.array_equal(left[name], right[name]) for name in left)
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(whole.output), device="cpu")
    assert loaded.max_seq_length == 48  # as it was distilled
    assert loaded.encode(["river " * 100]).shape == (1, 32)
    soup(tuning.model, [(0.5, whole.output, tuning.model)], tmp_path / "soup", 48)
    start, half = (load_file(m / "model.safetensors") for m in (tuning.model, tmp_path / "soup"))
    for name, weights in half.items():
        middle = (start[name].astype(np.float32) + left[name]) / 2
        assert np.allclose(weights, middle, atol=2e-3), name


def test_changed_texts_are_trained_on_and_a_training_on_them_resumes_bit_for_bit(
    distilled: DistillOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FinetuneOptions(
        model=distilled.output,
        pairs=(write_pairs(tmp_path / "pairs", 40),),
        output=tmp_path / "changed",
        work=tmp_path / "changed.work",
        passages=16,
        steps=6,
        evaluate_every=3,
        rate=3e-3,
        precision="float32",
        batch_tokens=512,
        augment=AUGMENTATIONS,
    )
    assert_resumes(finetune, options, monkeypatch)
    plain = replace(options, augment=(), output=tmp_path / "plain", work=tmp_path / "plain.work")
    finetune(plain, quiet)
    changed, unchanged = history(options.output), history(plain.output)
    # Held-out texts are never changed: the first evaluation, before any step, is the same.
    assert changed[0] == unchanged[0]
    assert changed[1]["loss"] != unchanged[1]["loss"]


def test_a_checkpoint_without_an_option_of_today_is_resumed(tmp_path: Path) -> None:
    settings = {"rate": 0.1, "augment": []}
    write_checkpoint(tmp_path, {"rate": 0.1}, State(), {})
    check_same_settings(tmp_path, settings)
    with raises(BadInput, "checkpoint", problem="augment"):
        check_same_settings(tmp_path, {**settings, "augment": ["swap"]})
    write_checkpoint(tmp_path, {**settings, "augment": ["swap"]}, State(), {})
    with raises(BadInput, "checkpoint", problem="augment"):
        check_same_settings(tmp_path, settings)


def test_finetune_refuses_what_leaves_nothing_to_learn(
    distilled: DistillOptions, tmp_path: Path
) -> None:
    options = FinetuneOptions(
        model=distilled.output,
        pairs=(write_pairs(tmp_path / "pairs", 2),),
        output=tmp_path / "tuned",
        work=tmp_path / "tuned.work",
        passage_tokens=48,
    )
    with pytest.raises(BadInput) as caught:
        finetune(options)
    assert (caught.value.option, caught.value.value) == ("pairs", str(options.pairs[0][0]))
    options = replace(options, pairs=(write_pairs(tmp_path / "more", 40),))
    for name, value in (("passage_tokens", 256), ("max_tokens", 100)):
        with pytest.raises(BadInput) as caught:
            finetune(replace(options, **{name: value}))  # type: ignore[arg-type]
        assert (caught.value.option, caught.value.value) == (name, value)
        assert "64 positions" in caught.value.problem
    with pytest.raises(BadInput) as caught:
        finetune(replace(options, model=tmp_path))
    assert caught.value.problem == "has no config.json"


def test_data_of_another_distillation_are_refused(
    distilled: DistillOptions, tmp_path: Path
) -> None:
    options = FinetuneOptions(
        model=distilled.output,
        pairs=(write_pairs(tmp_path / "pairs", 40),),
        output=tmp_path / "tuned",
        work=tmp_path / "tuned.work",
    )

    def problem(work: Path) -> str:
        with pytest.raises(BadInput) as caught:
            finetune(replace(options, distilled=work))
        assert (caught.value.option, caught.value.value) == ("distilled", str(work))
        return caught.value.problem

    assert problem(tmp_path) == "holds no distillation data"
    other = replace(
        distilled,
        shape=replace(SHAPE, vocab_size=71),
        output=tmp_path / "other",
        work=tmp_path / "other.work",
    )
    distill(other)
    assert problem(other.work) == "was made with another vocabulary"
    lacking = tmp_path / "lacking"
    shutil.copytree(distilled.work, lacking)
    for part in lacking.glob("teacher-*/part-*"):
        part.unlink()
    assert problem(lacking) == "lacks a part of the teacher's vectors"
