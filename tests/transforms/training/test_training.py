"""Distillation and fine-tuning on tiny samples, and the pieces that they are made of."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from argparse import _SubParsersAction
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizer

from deploy.model.held_out import pool_of, reciprocal_ranks
from deploy.model.soup import soup
from pipeline.parser import build_parser
from pipeline.training.distill import DistillOptions, distill
from pipeline.training.finetune import FinetuneOptions, finetune
from pipeline.training.options import Trained
from tests.support.terminal import start
from transforms.encoder.batching import batches_by_length
from transforms.errors import AlbeamError, BadInput
from transforms.training import trainer as trainer_module
from transforms.training.contrastive import load_tokenizer
from transforms.training.distillation_data import tokens_of
from transforms.training.export import read_model, write_json, write_model
from transforms.training.hard_negatives import best, index, rivals
from transforms.training.initialization import (
    Shape,
    factorize,
    source_layers,
    split_as_teacher,
    standardize,
    start_weights,
    strongest,
    whole_words,
    word_pieces,
)
from transforms.training.losses import contrastive_loss, sentence_loss, similarity_loss, word_loss
from transforms.training.pairs import Contests, Pairs, held_out, neighbourhoods, read_pairs
from transforms.training.student import Student
from transforms.training.teacher import tokenize, word_means, word_starts
from transforms.training.trainer import Schedule, State
from transforms.training.vocabulary import albert_tokenizer, normalize, pieces, train_vocabulary

VOCABULARY = (
    "river stone quick brown fox jumps over lazy dog garden winter summer light dark music paper "
    "engine bridge market doctor teacher village mountain ocean silver golden letter window door "
    "kitchen orange purple circle square number seven eleven forest desert island castle soldier"
)
WORDS = VOCABULARY.split()
SVG = "{http://www.w3.org/2000/svg}"
SHAPE = Shape(vocab_size=70, hidden=32, heads=4, intermediate=64, embedding=16, positions=64)


torch.set_num_threads(1)  # the networks are too small for more


def sample_texts(count: int, seed: int = 5) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.randint(4, 24))) + "." for _ in range(count)]


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT with mean pooling; sharp enough attention to need learning."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(3)
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS, *letters]
    vocabulary += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    BertTokenizer(vocab={word: n for n, word in enumerate(vocabulary)}).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": sample_texts(600)}), path)
    return path


@pytest.fixture
def distilling(teacher: Path, texts: Path, tmp_path: Path) -> DistillOptions:
    return DistillOptions(
        teacher=teacher,
        texts=(texts,),
        output=tmp_path / "model",
        work=tmp_path / "work",
        shape=SHAPE,
        max_tokens=48,
        batch_tokens=512,
        epochs=6,
        rate=2e-3,
        held_out=60,
        precision="float32",
        evaluate_every=20,
    )


def histories(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Collect what every training reports."""
    seen: list[dict[str, float]] = []
    judge = trainer_module.Trainer.judge

    def spy(self: trainer_module.Trainer, loss: float | None, parts: dict[str, float]) -> None:
        judge(self, loss, parts)
        seen.append(self.state.history[-1])

    monkeypatch.setattr(trainer_module.Trainer, "judge", spy)
    return seen


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], None]:
    """Stop a training like a kill between two checkpoints, with one a step before."""
    monkeypatch.setattr(trainer_module.Trainer, "CHECKPOINT_SECONDS", 0.0)
    save = trainer_module.Trainer.save

    def dying(self: trainer_module.Trainer) -> None:
        if self.state.step > step:
            raise KeyboardInterrupt
        save(self)

    monkeypatch.setattr(trainer_module.Trainer, "save", dying)
    return lambda: monkeypatch.setattr(trainer_module.Trainer, "save", save)


def test_distill_learns_and_writes_a_loadable_model(
    distilling: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    seen = histories(monkeypatch)
    lines: list[str] = []
    trained = distill(distilling, lines.append)
    assert trained.score == max(each["score"] for each in seen)
    assert {each["step"]: each["score"] for each in seen}[trained.best_step] == trained.score
    assert lines[-1].endswith(f"of step {trained.best_step}, score {trained.score:.4f}")
    assert seen[-2]["loss"] < 0.6 * seen[0]["loss"]
    assert seen[-2]["words"] < 0.6  # the share of the teacher's variance that is not explained
    assert seen[-1]["score"] > 0.85
    drawn = ElementTree.parse(distilling.output / "distill.svg").getroot()
    titles = [text.text for text in drawn.iter(f"{SVG}text") if text.get("class") == "title"]
    assert [title.partition(":")[0] for title in titles] == ["loss", "score", "cosine", "words"]
    assert all(len(line.get("points").split()) > 1 for line in drawn.iter(f"{SVG}polyline"))
    model = SentenceTransformer(str(distilling.output), device="cpu")
    teacher = SentenceTransformer(str(distilling.teacher), device="cpu")
    fresh = sample_texts(50, seed=99)
    ours, theirs = model.encode(fresh).astype(np.float32), teacher.encode(fresh)
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=2e-3)
    assert float((ours * theirs).sum(1).mean()) > 0.8
    assert model.max_seq_length == 48
    saved = json.loads((distilling.output / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"]) == (None, None)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_distill_resumes_bit_for_bit(
    distilling: DistillOptions, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(distilling, epochs=2, precision=precision)
    whole = replace(broken, output=tmp_path / "whole", work=tmp_path / "whole.work")
    distill(whole)
    revive = kill_at(monkeypatch, 13)
    with pytest.raises(KeyboardInterrupt):
        distill(broken)
    revive()
    distill(replace(broken, resume=True))
    left, right = (load_file(o.output / "model.safetensors") for o in (whole, broken))
    assert left.keys() == right.keys()
    assert all(np.array_equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_a_checkpoint(
    distilling: DistillOptions, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(distilling, epochs=2)
    whole = replace(broken, output=tmp_path / "whole", work=tmp_path / "whole.work")
    expected = distill(whole)
    once = trainer_module.Trainer.check_finite

    def stop_at(step: int) -> None:
        def interrupted(self: trainer_module.Trainer, loss: float, norm: float) -> None:
            once(self, loss, norm)
            if self.state.step == step:
                signal.raise_signal(number)

        monkeypatch.setattr(trainer_module.Trainer, "check_finite", interrupted)

    came: list[int] = []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        # Its last step as well: what was not judged before the end is judged after the resume.
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
    trained = distill(replace(broken, resume=True))
    assert trained.best_step == expected.best_step
    left, right = (load_file(o.output / "model.safetensors") for o in (whole, broken))
    assert all(np.array_equal(left[name], right[name]) for name in left)


def test_an_error_is_told_though_an_interrupt_waits(
    distilling: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: trainer_module.Trainer) -> None:
        signal.raise_signal(signal.SIGINT)
        raise OSError("disk full")

    monkeypatch.setattr(trainer_module.Trainer, "save", full)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="disk full"):
        distill(replace(distilling, epochs=0.1))
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_command_leaves_a_checkpoint_and_says_how_to_go_on(
    distilling: DistillOptions,
) -> None:
    sizes = "--vocab-size 70 --hidden 32 --heads 4 --intermediate 64 --embedding 16 --positions 64"
    process = start(
        "distill", "--teacher", str(distilling.teacher), "--texts", str(distilling.texts[0]),
        "--output", str(distilling.output), *sizes.split(), "--max-tokens", "48",
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
    work = distilling.output.with_name(f"{distilling.output.name}.work")
    saved = torch.load(work / "checkpoint.pt", weights_only=True)
    assert json.loads(saved["state"])["step"] >= 10


def test_the_time_left_is_told_by_the_pace_since_the_last_report() -> None:
    lines: list[trainer_module.Report] = []
    schedule = Schedule(steps=100, rate=1e-3)
    trainer = trainer_module.Trainer(
        torch.nn.Linear(2, 2),
        schedule,
        Path("unused"),
        {},
        batches=lambda _: iter(()),
        loss=lambda _: (torch.zeros(()), {}),
        evaluate=lambda: {"score": 0.0},
        report=lines.append,
    )
    for step, seconds in ((10, 1000.0), (20, 1010.0), (40, 1050.0)):
        trainer.state.step, trainer.state.seconds = step, seconds
        trainer.judge(None, {})
    assert [line.left for line in lines] == pytest.approx([9000, 80, 120])


def test_distill_refuses_to_resume_with_other_settings(
    distilling: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        distill(distilling)
    for change, message in (
        ({"rate": 1e-3}, r"rate 0\.002, not 0\.001.*--resume"),
        ({"evaluate_every": 10}, "evaluate_every 20, not 10"),
        ({"precision": "bfloat16"}, "dtype float32, not bfloat16"),
    ):
        with pytest.raises(BadInput, match=message):
            distill(replace(distilling, resume=True, **change))
    with pytest.raises(BadInput, match=r"checkpoint\.pt is of an earlier training: give --resume"):
        distill(distilling)
    assert (distilling.work / "checkpoint.pt").exists()


def test_distill_goes_on_with_a_student(
    distilling: DistillOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = histories(monkeypatch)
    distill(distilling)
    first, reached = seen[0]["score"], seen[-1]["score"]
    more = replace(
        distilling,
        student=distilling.output,
        shape=Shape(),
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
        assert (more.output / name).read_bytes() == (distilling.output / name).read_bytes()
    # From other weights it would lead elsewhere.
    other = replace(more, student=more.output, resume=True)
    with pytest.raises(BadInput, match="was made with student"):
        distill(other)


def test_a_student_that_cant_learn_from_the_teacher_is_refused(
    distilling: DistillOptions, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="has its shape already: leave the sizes out"):
        replace(distilling, student=tmp_path)
    going_on = replace(distilling, student=tmp_path, shape=Shape())
    with pytest.raises(BadInput, match=r"has no config\.json"):
        distill(going_on)
    distill(replace(distilling, epochs=0.1))
    going_on = replace(going_on, student=distilling.output, resume=False, work=tmp_path / "w")
    config = json.loads((distilling.output / "config.json").read_text())
    for name, value, message in (
        ("max_position_embeddings", 40, "--max-tokens 48 is more than the 40"),
        ("num_hidden_groups", 1, r"layer_groups\.1.* have the shape .* config None"),
        ("hidden_size", 64, "has vectors of 64 dimensions and --teacher .* of 32"),
    ):
        write_json(distilling.output / "config.json", config | {name: value})
        with pytest.raises(BadInput, match=message):
            distill(going_on)


def test_distill_refuses_bad_input(distilling: DistillOptions, tmp_path: Path) -> None:
    few = tmp_path / "few.parquet"
    pq.write_table(pa.table({"text": ["one text", "", None]}), few)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"body": ["one text"]}), other)
    with pytest.raises(BadInput, match="1 texts are too few"):
        distill(replace(distilling, texts=(few,)))
    with pytest.raises(BadInput, match="no column text"):
        distill(replace(distilling, texts=(other,)))
    pq.write_table(pa.table({"text": [1, 2]}), other)
    with pytest.raises(BadInput, match="column text .* is of type int64: it must hold text"):
        distill(replace(distilling, texts=(other,)))
    other.write_text("no Parquet")
    with pytest.raises(BadInput, match="not readable as Parquet"):
        distill(replace(distilling, texts=(other,)))
    with pytest.raises(BadInput, match="does not exist"):
        distill(replace(distilling, texts=(tmp_path / "none.parquet",)))
    with pytest.raises(BadInput, match=r"config\.json"):
        distill(replace(distilling, teacher=tmp_path))
    with pytest.raises(BadInput, match="vocabulary of 5000 pieces"):
        distill(replace(distilling, shape=replace(SHAPE, vocab_size=5000)))
    with pytest.raises(BadInput, match=r"--vocab-size 9 is less than the \d\d different char"):
        distill(replace(distilling, shape=replace(SHAPE, vocab_size=9)))
    with pytest.raises(BadInput, match="is 32 wide, and the student 64: set --hidden 32"):
        distill(replace(distilling, shape=replace(SHAPE, hidden=64)))
    with pytest.raises(BadInput, match="64 wide inside, .*65: set --intermediate 64 or less"):
        distill(replace(distilling, shape=replace(SHAPE, intermediate=65)))
    with pytest.raises(BadInput, match="not a multiple of --groups"):
        replace(distilling, shape=replace(SHAPE, groups=4))
    with pytest.raises(BadInput, match="has 64 positions, fewer than the student's 65"):
        distill(replace(distilling, shape=replace(SHAPE, positions=65)))
    assert not (distilling.work / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minutes": 0.0}, r"--minutes 0\.0 is not a number above 0"),
        ({"minutes": -1.0}, "--minutes -1"),
        ({"epochs": float("nan")}, "--epochs nan"),
        ({"epochs": float("inf")}, "--epochs inf"),
        ({"rate": 0.0}, "--rate 0"),
        ({"evaluate_every": 0}, "--evaluate-every 0 is below 1"),
        ({"seed": -1}, "--seed -1 is below 0"),
        ({"batch_tokens": 0}, "--batch-tokens 0"),
        ({"held_out": 0}, "--held-out 0 is below 1"),
        ({"max_tokens": 65}, "--max-tokens 65 is above --positions 64"),
        ({"shape": replace(SHAPE, groups=0)}, "--groups 0 is below 1"),
        ({"shape": replace(SHAPE, embedding=64)}, "--embedding 64 is above --hidden 32"),
    ],
)
def test_numbers_that_cant_be_are_refused_at_once(
    distilling: DistillOptions, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        replace(distilling, **change)


def test_a_training_that_helped_nothing_says_so() -> None:
    assert "no later step did better" in str(Trained("m", 4, 0, 0.5, 1.0))
    assert str(Trained("m", 4, 3, 0.5, 1.0)) == "wrote m: the weights of step 3, score 0.5000"


def test_an_output_that_would_cost_something_is_refused(
    distilling: DistillOptions, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "precious.txt").write_text("kept")
    with pytest.raises(BadInput, match="something else than a model, which would be lost"):
        distill(replace(distilling, output=data))
    assert (data / "precious.txt").read_text() == "kept"
    with pytest.raises(BadInput, match="is a file: name a folder"):
        distill(replace(distilling, output=data / "precious.txt"))
    with pytest.raises(BadInput, match="lies in --output"):
        distill(replace(distilling, output=tmp_path / "out", work=tmp_path / "out" / "work"))


def test_a_training_that_diverges_ends_before_it_spoils_the_weights(
    distilling: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Student.distillation_loss
    steps: list[int] = []

    def diverging(self: Student, *rest: Any) -> tuple[torch.Tensor, dict[str, float]]:
        steps.append(1)
        found, parts = loss(self, *rest)
        return (found * float("nan") if len(steps) == 4 else found), parts

    monkeypatch.setattr(Student, "distillation_loss", diverging)
    with pytest.raises(AlbeamError, match=r"step 4 has the loss nan .*lower --rate of 0\.002"):
        distill(distilling)
    assert not distilling.output.exists()


def test_teacher_without_sentence_vectors_is_refused(
    distilling: DistillOptions, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="no sentence vectors"):
        distill(replace(distilling, teacher=bare))
    (bare / "1_Pooling").mkdir()
    write_json(bare / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    with pytest.raises(BadInput, match="does not pool by mean"):
        distill(replace(distilling, teacher=bare))
    shutil.copytree(distilling.teacher, bare, dirs_exist_ok=True)
    config = json.loads((bare / "config.json").read_text())
    write_json(bare / "config.json", config | {"model_type": "mpnet"})
    with pytest.raises(BadInput, match="is a mpnet, and a student starts from .* a BERT"):
        distill(replace(distilling, teacher=bare))


def test_a_teacher_with_its_vocabulary_in_its_tokenizer_alone(
    distilling: DistillOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "teacher"
    shutil.copytree(distilling.teacher, folder)
    known = word_pieces(folder)
    (folder / "vocab.txt").unlink()
    assert word_pieces(folder) == known
    distill(replace(distilling, teacher=folder, epochs=0.1))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    assert word_pieces(folder) == []


def write_pairs(folder: Path, count: int = 120) -> tuple[Path, Path]:
    """Passages of random words, each with two questions that take some of its words."""
    dice = random.Random(11)
    bodies = [" ".join(dice.choices(WORDS, k=20)) for _ in range(count)]
    asked = [
        (" ".join(dice.sample(body.split(), 4)) + "?", [f"p{n}"])
        for n, body in enumerate(bodies)
        for _ in range(2)
    ]
    folder.mkdir(exist_ok=True)
    passages, questions = folder / "passages.parquet", folder / "questions.parquet"
    pq.write_table(pa.table({"id": [f"p{n}" for n in range(count)], "text": bodies}), passages)
    pq.write_table(
        pa.table({"question": [a[0] for a in asked], "relevant": [a[1] for a in asked]}), questions
    )
    return passages, questions


def test_finetune_learns_resumes_and_keeps_the_geometry(
    distilling: DistillOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(replace(distilling, epochs=2))
    options = FinetuneOptions(
        model=distilling.output,
        pairs=(write_pairs(tmp_path / "pairs"),),
        output=tmp_path / "tuned",
        work=tmp_path / "tuned.work",
        distilled=distilling.work,
        passages=16,
        epochs=6,
        rate=2e-3,
        precision="float32",
        evaluate_every=8,
        batch_tokens=512,
    )
    seen = histories(monkeypatch)
    finetune(options)
    assert seen[-2]["contrastive"] < 0.9 * seen[1]["contrastive"]
    assert seen[-1]["teacher"] > seen[0]["teacher"] - 0.1
    short = replace(options, epochs=2)
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
    soup(options.model, [(0.5, whole.output, options.model)], tmp_path / "soup", 48)
    start, half = (load_file(m / "model.safetensors") for m in (options.model, tmp_path / "soup"))
    for name, weights in half.items():
        middle = (start[name].astype(np.float32) + left[name]) / 2
        assert np.allclose(weights, middle, atol=2e-3), name


def test_a_soup_of_models_that_are_no_kin_is_refused(distilling: DistillOptions) -> None:
    distill(replace(distilling, epochs=0.1))
    other = replace(
        distilling,
        output=distilling.output.with_name("other"),
        work=distilling.work.with_name("other.work"),
        shape=replace(SHAPE, embedding=8),
        epochs=0.1,
    )
    distill(other)
    with pytest.raises(BadInput, match=r"other has other shapes.*one distillation"):
        soup(distilling.output, [(1.0, other.output, distilling.output)], other.work / "s", 48)


def test_a_pool_has_what_was_left_out_and_its_questions() -> None:
    pairs = Pairs("p", list("abcdefgh"), ["w", "x", "y", "z"], [[0], [5], [2, 5], [7]])
    pool, asked = pool_of(pairs, {2, 5}, 3)
    assert asked == [1, 2]
    assert {2, 5} <= set(pool)
    assert 3 <= len(pool) <= 5
    assert pool == sorted(set(pool))


class Letters:
    """Makes of a text the counts of its letters."""

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.asarray([[text.count(one) for one in "abcd"] for text in texts], np.float32)


def test_reciprocal_ranks_are_those_of_the_best_answer() -> None:
    pairs = Pairs("p", ["aab", "ab", "cd", "ddd"], ["a", "d", "c"], [[1], [2, 3], [0]])
    pool = [0, 1, 2, 3]
    # "a": aab 2, ab 1; "d": ddd first; "c": cd first, and the two others tie with the answer
    assert reciprocal_ranks(Letters(), pairs, pool, [0]) == 0.5  # type: ignore[arg-type]
    assert reciprocal_ranks(Letters(), pairs, pool, [1]) == 1.0  # type: ignore[arg-type]
    assert reciprocal_ranks(Letters(), pairs, pool, [2]) == 0.25  # type: ignore[arg-type]


def test_pairs_with_unknown_passages_are_refused(tmp_path: Path) -> None:
    passages, questions = write_pairs(tmp_path / "pairs", 4)
    pq.write_table(pa.table({"question": ["why?"], "relevant": [["p9"]]}), questions)
    with pytest.raises(BadInput, match=r"'why\?'.*p9"):
        read_pairs(passages, questions)
    pq.write_table(
        pa.table(
            {"question": ["why?"], "relevant": [[]]},
        ),
        questions,
    )
    with pytest.raises(BadInput, match="0 answered questions"):
        read_pairs(passages, questions)
    for asked, message in (
        ({"question": ["why?"]}, "no column relevant"),
        ({"question": ["why?"], "relevant": ["p1"]}, "must hold lists of ids"),
        ({"question": [None], "relevant": [["p1"]]}, "must hold text"),
        ({"question": ["why?", None], "relevant": [["p1"], ["p2"]]}, "row 1 of .* no question"),
    ):
        pq.write_table(pa.table(asked), questions)
        with pytest.raises(BadInput, match=message):
            read_pairs(passages, questions)
    pq.write_table(pa.table({"id": ["p1", "p1"], "text": ["a", "b"]}), passages)
    with pytest.raises(BadInput, match="have the id p1 twice"):
        read_pairs(passages, write_pairs(tmp_path / "pairs2", 4)[1])


def test_equal_questions_and_equal_passages_are_one(tmp_path: Path) -> None:
    passages, questions = tmp_path / "p.parquet", tmp_path / "q.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "text": ["a", "b", "a"]}), passages)
    asked = {"question": ["x", "y", "x", "z"], "relevant": [[1], [2], [3, 2], None]}
    pq.write_table(pa.table(asked), questions)
    pairs = read_pairs(passages, questions)
    assert pairs.passages == ["a", "b"]
    assert pairs.questions == ["x", "y"]
    assert pairs.relevant == [[0, 1], [1]]


def test_held_out_passages_take_no_part() -> None:
    relevant = [[0], [1], [1, 2], [3], [4], [5]]
    pairs = Pairs("p", list("abcdefgh"), list("uvwxyz"), relevant)
    assert all(held_out(pairs, 0.05, 9, seed) < set(range(6)) for seed in range(20))
    assert {len(held_out(pairs, 0.05, 9, seed)) for seed in range(20)} == {1}
    contests = Contests([pairs], [[[]] * 8], [{1}], 8, 2, 4, 1)
    (only,) = contests.epoch(0)
    # What "w" asks is answered by a held-out passage too.
    assert sorted(only.passages) == [0, 3, 4, 5]
    assert sorted(only.questions) == [0, 3, 4, 5]


def test_finetune_refuses_what_leaves_nothing_to_learn(
    distilling: DistillOptions, tmp_path: Path
) -> None:
    distill(replace(distilling, epochs=0.1))
    options = FinetuneOptions(
        model=distilling.output,
        pairs=(write_pairs(tmp_path / "pairs", 2),),
        output=tmp_path / "tuned",
        work=tmp_path / "tuned.work",
        passage_tokens=48,
    )
    with pytest.raises(BadInput, match="leave no two answered passages to tell apart"):
        finetune(options)
    options = replace(options, pairs=(write_pairs(tmp_path / "more", 40),))
    with pytest.raises(BadInput, match="--passage-tokens 256 is more than the 64"):
        finetune(replace(options, passage_tokens=256))
    with pytest.raises(BadInput, match="--max-tokens 100 is more than the 64"):
        finetune(replace(options, max_tokens=100))
    with pytest.raises(BadInput, match="is the --model itself"):
        finetune(replace(options, output=options.model, work=tmp_path / "w"))
    with pytest.raises(BadInput, match="holds no lessons"):
        finetune(replace(options, distilled=tmp_path))
    other = replace(
        distilling,
        shape=replace(SHAPE, vocab_size=71),
        output=tmp_path / "other",
        work=tmp_path / "other.work",
        epochs=0.1,
    )
    distill(other)
    with pytest.raises(BadInput, match="was made with another vocabulary"):
        finetune(replace(options, distilled=other.work))
    for part in distilling.work.glob("teacher-*/part-*"):
        part.unlink()
    with pytest.raises(BadInput, match="lacks a part of the teacher's vectors"):
        finetune(replace(options, distilled=distilling.work))


def test_a_model_is_not_written_with_weights_that_float16_cant_hold(
    distilling: DistillOptions, tmp_path: Path
) -> None:
    distill(replace(distilling, epochs=0.1))
    config, weights = read_model(distilling.output)
    tokenizer = load_tokenizer(distilling.output, config.vocab_size)
    name = "embeddings.LayerNorm.weight"
    wide = {**weights, name: weights[name] * 1e6}
    with pytest.raises(AlbeamError, match=r"LayerNorm\.weight is not finite in float16"):
        write_model(tmp_path / "wide", config, wide, tokenizer, 48)
    assert not (tmp_path / "wide").exists()
    assert read_model(distilling.output)[0].dtype == config.dtype


def test_a_pretrained_albert_is_read_without_its_heads(
    distilling: DistillOptions, tmp_path: Path
) -> None:
    distill(replace(distilling, epochs=0.1))
    _, weights = read_model(distilling.output)
    folder = tmp_path / "pretrained"
    shutil.copytree(distilling.output, folder)
    named = {f"albert.{name}": array for name, array in weights.items()}
    heads = {"predictions.bias": np.zeros(70, np.float32), "albert.pooler.bias": np.zeros(32)}
    save_file({**named, **heads}, folder / "model.safetensors")
    read = read_model(folder)[1]
    assert read.keys() == weights.keys()
    assert all(np.array_equal(read[name], weights[name]) for name in weights)


def test_finetune_options_are_checked(tmp_path: Path) -> None:
    good = FinetuneOptions(model=tmp_path, pairs=(), output=tmp_path / "o", work=tmp_path / "w")
    assert replace(good, keep=0.5, distilled=tmp_path).keep == 0.5
    for change, words in (
        ({"negatives": "hard"}, "--negatives hard"),
        ({"passages": 1}, "--passages 1"),
        ({"neighbours": 49}, "--neighbours 49"),
        ({"average": 0.0}, r"--average 0\.0"),
        ({"epochs": 0}, "--epochs 0"),
        ({"temperature": 0.0}, r"--temperature 0\.0"),
        ({"questions": 0}, "--questions 0"),
        ({"keep": 0.5}, r"--keep 0\.5 weighs the lessons of a distillation: .* --distilled"),
        ({"keep": -1.0, "distilled": tmp_path}, "--keep -1"),
        ({"device": "tpu"}, "--device tpu"),
        ({"precision": "int8"}, "--precision int8"),
    ):
        with pytest.raises(BadInput, match=words):
            replace(good, **change)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"no config\.json"):
        finetune(good)


def test_vocabulary_follows_albert_conventions() -> None:
    model = train_vocabulary(sample_texts(400), 70)
    names = [piece for piece, _ in pieces(model)]
    assert names[:5] == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    assert len(names) == 70
    assert all(piece.lower() == piece for piece in names[5:])
    tokenizer = albert_tokenizer(model, 12)
    ids = tokenizer("RIVER  Stóne")["input_ids"]
    assert ids == tokenizer("river stone")["input_ids"]
    assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == ["[CLS]", "[SEP]"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "river stone"
    assert normalize("``RIVER''  Stóne") == '"river" stone'


def test_words_of_the_teacher_become_whole_pieces(teacher: Path) -> None:
    known = whole_words(teacher)
    assert set(WORDS) < set(known)
    assert not any("[" in word or "#" in word or word == "." for word in known)
    others = [" ".join(word[::-1] for word in text.split()) for text in sample_texts(300)]
    alone = {piece for piece, _ in pieces(train_vocabulary(others, 70))}
    # sentencepiece considers what stands in two words at least.
    words = [*WORDS, *(f"{word}s" for word in WORDS)]
    beside = {piece for piece, _ in pieces(train_vocabulary(others, 110, words=words))}
    assert not alone & {f"▁{word}" for word in WORDS}
    assert len(beside & {f"▁{word}" for word in WORDS}) > 10
    assert whole_words(teacher / "1_Pooling") == []


def test_tokens_name_their_words(tmp_path: Path) -> None:
    tokenizer = albert_tokenizer(train_vocabulary(sample_texts(400), 70), 64)
    texts = ["river stones. dog", "fox"]
    assert word_starts(texts[0]).tolist() == [0, 6, 14]
    ids, words = tokenize(tokenizer, texts, 64)
    assert [int(w[-1]) for w in words] == [4, 2]
    assert words[1].tolist() == [0, 1, 2]
    assert set(words[0].tolist()) == {0, 1, 2, 3, 4}
    kept = tokens_of(tokenizer, texts, 64, tmp_path / "tokens.parquet")
    assert kept.lengths.tolist() == [len(row) for row in ids]
    assert kept.rows(np.array([1]))[0].tolist() == [ids[1].tolist()]
    assert sum(kept.counts(70)) == sum(map(len, ids))


def test_word_means_average_the_pieces() -> None:
    hidden = torch.tensor([[[1.0], [2.0], [4.0], [9.0]]])
    slots = torch.tensor([[0, 1, 1, -1]])
    assert word_means(hidden, slots, 3).squeeze(-1).tolist() == [[1.0, 3.0, 0.0]]


def test_batches_hold_every_text_once_within_the_budget() -> None:
    lengths = np.array([3, 9, 1, 4, 4, 20])
    batches = batches_by_length(lengths, 12)
    assert sorted(int(i) for b in batches for i in b) == list(range(6))
    assert all(len(b) == 1 or len(b) * lengths[b].max() <= 12 for b in batches)


def test_pieces_split_as_the_teacher_would() -> None:
    vocabulary = {name: n for n, name in enumerate(["un", "##do", "##ing", "do", "."])}
    assert split_as_teacher("▁undoing", vocabulary) == [0, 1, 2]
    assert split_as_teacher("doing", vocabulary) == [1, 2]
    assert split_as_teacher(".", vocabulary) == [4]
    assert split_as_teacher("▁", vocabulary) == []


def test_factorized_embeddings_are_the_teachers_within_the_basis() -> None:
    dice = np.random.default_rng(0)
    low = dice.normal(size=(50, 6)).astype(np.float32) @ dice.normal(size=(6, 24)).astype(
        np.float32
    )
    place = np.zeros((8, 24), np.float32)
    one, zero = np.ones(24, np.float32), np.zeros(24, np.float32)
    made = factorize(
        words=low,
        positions=place,
        kinds=np.zeros((2, 24), np.float32),
        gain=one,
        shift=zero,
        weights=np.ones(50, np.float32),
        width=8,
    )
    codes = made["embeddings.word_embeddings.weight"]
    mapping = made["encoder.embedding_hidden_mapping_in.weight"]
    scale = np.linalg.norm(mapping[:, 0])
    rebuilt = codes @ mapping.T / scale + made["encoder.embedding_hidden_mapping_in.bias"]
    assert np.allclose(rebuilt, standardize(low)[0], atol=1e-3)


def test_groups_start_from_middle_layers() -> None:
    assert source_layers(6, 2) == [1, 4]
    assert source_layers(6, 1) == [3]
    assert source_layers(12, 6) == [1, 3, 5, 7, 9, 11]


def test_narrower_layers_keep_their_strongest_units(teacher: Path) -> None:
    into, out = np.eye(4, 3, dtype=np.float32), np.ones((3, 4), np.float32)
    assert strongest(into, out * np.array([3, 1, 2, 9], np.float32), 2).tolist() == [0, 2]
    names = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "▁river"]
    shape = replace(SHAPE, vocab_size=6)
    whole = start_weights(teacher, shape, names, [1] * 6)
    half = start_weights(teacher, replace(shape, intermediate=32), names, [1] * 6)
    layer = "encoder.albert_layer_groups.1.albert_layers.0."
    kept = strongest(whole[layer + "ffn.weight"], whole[layer + "ffn_output.weight"], 32)
    assert np.array_equal(half[layer + "ffn.weight"], whole[layer + "ffn.weight"][kept])
    assert np.array_equal(half[layer + "ffn.bias"], whole[layer + "ffn.bias"][kept])
    ours, theirs = (w[layer + "ffn_output.weight"] for w in (half, whole))
    assert np.array_equal(ours, theirs[:, kept])


def test_losses_are_zero_when_perfect_and_known_otherwise() -> None:
    unit = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    assert sentence_loss(unit, unit).item() == pytest.approx(0, abs=1e-6)
    assert similarity_loss(unit, -unit).item() == pytest.approx(0, abs=1e-6)
    assert similarity_loss(unit[:1], unit[:1]).item() == 0
    words = torch.randn(40, 8)
    assert word_loss(words, words).item() == 0
    assert word_loss(words.mean(0).expand(40, 8), words).item() == pytest.approx(1, abs=1e-5)
    relevant = torch.eye(5, dtype=torch.bool)
    sure = contrastive_loss(torch.eye(5), torch.eye(5), relevant, 0.05)
    blind = contrastive_loss(torch.ones(5, 5), torch.ones(5, 5), relevant, 0.05)
    assert sure.item() < 1e-6
    assert blind.item() == pytest.approx(np.log(5), abs=1e-5)
    twice = torch.ones(5, 5, dtype=torch.bool)
    assert contrastive_loss(torch.eye(5), torch.eye(5), twice, 0.05).item() == pytest.approx(0)


def test_bm25_finds_rivals_but_no_answers() -> None:
    documents = [np.array(d, np.int32) for d in ([1, 2, 3], [1, 2, 4], [5, 6, 7], [8, 9, 5])]
    postings = index(documents, 10, common=1.0)
    assert best(postings, np.array([1, 3], np.int32), 4).tolist() == [0, 1]
    assert best(postings, np.array([], np.int32), 4).tolist() == []
    found = rivals(documents, [np.array([1, 3], np.int32)], [[0]], 10)
    assert found == [[1], [], [], []]


def test_contests_take_each_passage_once_and_mark_all_answers() -> None:
    dice = np.random.default_rng(0)
    groups = neighbourhoods(range(6), [], [[1], [0], [9], [], [5], [4]], 2, dice)
    assert sorted(n for g in groups for n in g) == list(range(6))
    assert sorted(sorted(g) for g in groups if len(g) > 1) == [[0, 1], [4, 5]]
    pairs = Pairs("p", list("abcdef"), ["q0", "q1", "q2"], [[0, 1], [2], [5]])
    contests = Contests([pairs], [[[]] * 6], [{5}], 8, 2, 4, 1)
    (only,) = contests.epoch(0)
    assert sorted(only.passages) == [0, 1, 2]
    assert sorted(only.questions) == [0, 1]
    assert int(only.relevant.sum()) == 3
    assert [c.passages for c in contests.epoch(0)] == [only.passages]


def test_passages_without_questions_are_rivals_of_the_others_alone() -> None:
    pairs = Pairs("p", list("abcdef"), ["q0", "q1"], [[0], [1]])
    ranked = [[3, 4], [4, 5], [], [], [], []]
    contests = Contests([pairs], [ranked], [set()], 8, 2, 4, 1)
    (only,) = contests.epoch(0)
    assert {0, 1} < set(only.passages)
    assert set(only.passages) <= {0, 1, 3, 4, 5}
    assert len(only.passages) == 4
    assert sorted(only.questions) == [0, 1]
    assert int(only.relevant.sum()) == 2
    (kept,) = replace(contests, left_out=[{4}]).epoch(0)
    assert sorted(kept.passages) == [0, 1, 3, 5]
    # The first group, of four, makes two batches; the second of them asks nothing.
    alone = Pairs("p", list("abcde"), ["q0", "q1"], [[0], [0]])
    small = replace(contests, corpora=[alone], rivals=[[[2, 3, 4], *[[]] * 4]])
    (only,) = replace(small, passages=2, neighbours=4).epoch(0)
    assert sorted(only.passages) == [0, 2]


def test_schedule_rises_falls_and_ends() -> None:
    schedule = Schedule(steps=100, rate=1.0, warmup=0.1)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.1) == pytest.approx(1)
    assert schedule.factor(1) == pytest.approx(0)
    assert schedule.progress(50, 0) == 0.5
    assert replace(schedule, minutes=1).progress(50, 45) == 0.75


def test_training_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.5])
    at: dict[float, float] = {}

    def evaluate() -> dict[str, float]:
        score = next(scores)
        at[score] = model.weight.item()
        return {"score": score}

    def batches(start: int):  # type: ignore[no-untyped-def]
        return iter(range(start, 1000))

    trainer = trainer_module.Trainer(
        model,
        Schedule(steps=1000, rate=0.1, evaluate_every=1, patience=2),
        tmp_path,
        {},
        batches=batches,
        loss=lambda _: (model.weight.sum(), {}),
        evaluate=evaluate,
        report=lambda _: None,
    )
    state: State = trainer.run()
    assert state.step < 10
    assert model.weight.item() == pytest.approx(at[0.9])


@pytest.mark.parametrize("command", ["distill", "finetune"])
def test_help_tells_the_defaults_of_the_options(command: str) -> None:
    known: dict[str, object] = {"keep": 1.0} if command == "finetune" else {}
    for owner in {"distill": (DistillOptions, Shape), "finetune": (FinetuneOptions,)}[command]:
        for field in fields(owner):
            if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
                known.setdefault(field.name, field.default)
    told = {}
    [commands] = [a for a in build_parser()._actions if isinstance(a, _SubParsersAction)]
    for action in commands.choices[command]._actions:
        if (said := re.search(r"\(default: ([^ )]+)\)$", action.help or "")) is not None:
            told[action.dest] = type(known.get(action.dest, ""))(said[1])
    assert {name: told.get(name) for name in known} == known
