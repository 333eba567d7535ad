"""A tiny teacher, texts and pairs to train on, and ways to watch and stop a training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from pipeline.training.distill import distill
from pipeline.training.options import DistillOptions
from transforms.training.export import write_json
from transforms.training.options import StudentShape
from transforms.training.trainer import Trainer

VOCABULARY = (
    "river stone quick brown fox jumps over lazy dog garden winter summer light dark music paper "
    "engine bridge market doctor teacher village mountain ocean silver golden letter window door "
    "kitchen orange purple circle square number seven eleven forest desert island castle soldier"
)
WORDS = VOCABULARY.split()
SHAPE = StudentShape(vocab_size=70, hidden=32, heads=4, intermediate=64, embedding=16, positions=64)


def sample_texts(count: int, seed: int = 5) -> list[str]:
    """Return sentences of random words."""
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.randint(4, 24))) + "." for _ in range(count)]


def write_pairs(folder: Path, count: int = 120) -> tuple[Path, Path]:
    """Write passages of random words, each with two questions that take some of its words."""
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


def distill_options(teacher: Path, folder: Path) -> DistillOptions:
    """Return the options of a small distillation in a folder."""
    texts = folder / "texts.parquet"
    pq.write_table(pa.table({"text": sample_texts(600)}), texts)
    return DistillOptions(
        teacher=teacher,
        texts=(texts,),
        output=folder / "model",
        work=folder / "work",
        shape=SHAPE,
        max_tokens=48,
        batch_tokens=512,
        epochs=6,
        rate=2e-3,
        held_out=60,
        precision="float32",
        evaluate_every=20,
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: the networks are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT with mean pooling; its attention is sharp enough to need learning."""
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
def options(teacher: Path, tmp_path: Path) -> DistillOptions:
    """The options of a distillation that has not run."""
    return distill_options(teacher, tmp_path)


@pytest.fixture(scope="session")
def distilled(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> DistillOptions:
    """The options of a short distillation that has run; tests must not change its folders."""
    done = replace(distill_options(teacher, tmp_path_factory.mktemp("distilled")), epochs=0.1)
    distill(done, lambda _: None)
    return done


def record_history(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Collect the metrics of each evaluation of the trainings that follow."""
    seen: list[dict[str, float]] = []
    validate = Trainer.validate

    def spy(self: Trainer, loss: float | None, parts: dict[str, float]) -> None:
        validate(self, loss, parts)
        seen.append(self.state.history[-1])

    monkeypatch.setattr(Trainer, "validate", spy)
    return seen


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], None]:
    """Stop the next training as a kill after this step would, with a checkpoint at each step."""
    monkeypatch.setattr(Trainer, "CHECKPOINT_SECONDS", 0.0)
    save = Trainer.save

    def dying(self: Trainer) -> None:
        if self.state.step > step:
            raise KeyboardInterrupt
        save(self)

    monkeypatch.setattr(Trainer, "save", dying)
    return lambda: monkeypatch.setattr(Trainer, "save", save)
