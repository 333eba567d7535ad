"""albeam distill: train an ALBERT sentence encoder of our own from a teacher and texts."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pipeline.training.options import Trained, TrainingOptions, fingerprint, option
from pipeline.training.work_folder import begin_work, read_texts, remembered
from transforms.errors import BadInput
from transforms.evaluation.plots import training_curves
from transforms.training.initialization import Shape
from transforms.training.inputs import check_output

ORDER = 17  # one order of the texts, so that the teacher's vectors serve every --seed


@dataclass(frozen=True, kw_only=True)
class DistillOptions(TrainingOptions):
    """What `albeam distill` was asked for."""

    deciding: ClassVar = (*TrainingOptions.deciding, "max_tokens", "held_out")
    least: ClassVar = {**TrainingOptions.least, "max_tokens": 8, "held_out": 1}

    teacher: Path
    texts: tuple[Path, ...]
    student: Path | None = None
    shape: Shape = field(default_factory=Shape)
    max_tokens: int = 256
    epochs: float = 2.0
    rate: float = 2e-3
    held_out: int = 2000

    def __post_init__(self) -> None:
        """Raise BadInput for options that cannot work."""
        super().__post_init__()
        shape = self.shape
        if self.student is not None and shape != Shape():
            raise BadInput(f"--student {self.student} has its shape already: leave the sizes out")
        for name, size in asdict(shape).items():
            if size < 1:
                raise BadInput(f"{option(name)} {size} is below 1")
        if shape.embedding > shape.hidden:
            raise BadInput(f"--embedding {shape.embedding} is above --hidden {shape.hidden}")
        if shape.hidden % shape.heads:
            raise BadInput(f"--hidden {shape.hidden} is not a multiple of --heads {shape.heads}")
        if shape.layers % shape.groups:
            raise BadInput(f"--layers {shape.layers} is not a multiple of --groups {shape.groups}")
        if self.student is None and self.max_tokens > shape.positions:
            raise BadInput(f"--max-tokens {self.max_tokens} is above --positions {shape.positions}")

    def all_settings(self, corpus: str) -> dict[str, object]:
        """Name all that decides the weights: a resume must find the same."""
        return {
            "teacher": fingerprint(self.teacher / "model.safetensors"),
            "texts": corpus,
            **(asdict(self.shape) if self.student is None else _beginning(self.student)),
            **self.settings(),
        }


def distill(options: DistillOptions, tell: Callable[[str], object] = print) -> Trained:
    """Train vocabulary and student, or go on with a student's, and write the model folder.

    Raises:
        BadInput: before any training, where teacher, texts, sizes, folders or what a resume finds
            don't fit.
        AlbeamError: the loss is not finite any more.
    """
    from transforms.training.distillation_data import (
        PART_ROWS,
        Lessons,
        keep_lessons,
        tokens_of,
        vocabulary_of,
    )
    from transforms.training.export import write_model
    from transforms.training.initialization import check_source
    from transforms.training.student import LossWeights, Student, place
    from transforms.training.teacher import Lectures, Teacher, check_teacher
    from transforms.training.trainer import Schedule, Trainer

    began = time.monotonic()

    def say(line: str) -> None:
        tell(f"{time.monotonic() - began:7.0f} s  {line}")

    placement = place(options.device, options.precision)
    check_output(options.output, options.work)
    check_teacher(options.teacher)
    if options.student is None:
        check_source(options.teacher, options.shape)
    texts = read_texts(options.texts)
    if len(texts) < max(100, 2 * options.held_out):
        raise BadInput(
            f"{len(texts)} texts are too few to learn from with {options.held_out} held out: "
            "give more texts or a smaller --held-out"
        )
    corpus = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    settings = {**options.all_settings(corpus), **asdict(placement)}
    work = options.work
    begin_work(work, settings, options.resume)

    config, tokenizer, words, weights_of = _beginner(options, texts, corpus)
    random.Random(ORDER).shuffle(texts)
    say(f"vocabulary of {config.vocab_size} pieces")
    vectors = work / f"teacher-{settings['teacher']}-{corpus}-{options.max_tokens}"
    lectures = Lectures(
        lambda: Teacher(options.teacher, placement),
        texts,
        vectors,
        rows=PART_ROWS,
        max_tokens=options.max_tokens,
    )
    kept = work / f"tokens-{corpus}-{words}-{options.max_tokens}.parquet"
    tokens = tokens_of(tokenizer, texts, options.max_tokens, kept)
    say(f"{len(tokens.ids)} tokens of {len(texts)} texts")
    train = len(texts) - options.held_out
    lessons = Lessons(tokens, lectures, train, options.batch_tokens, options.seed)
    keep_lessons(work, kept, vectors, train, vocabulary_of(tokenizer))
    student = Student(config, weights_of(tokens), placement)
    held_out = lessons.held_out()
    trainer = Trainer(
        student.model,
        Schedule(
            steps=max(1, round(options.epochs * lessons.steps())),
            rate=options.rate,
            minutes=options.minutes,
            evaluate_every=options.evaluate_every,
        ),
        work,
        settings,
        batches=lessons.batches,
        loss=lambda lesson: student.distillation_loss(lesson, LossWeights()),
        evaluate=lambda: student.teacher_cosine(held_out),
        report=lambda report: say(str(report)),
    )
    if options.resume and trainer.resume():
        say(f"goes on from step {trainer.state.step}")
    state = trainer.run()
    write_model(
        options.output,
        config,
        student.weights(),
        tokenizer,
        options.max_tokens,
        also=lambda made: (made / "distill.svg").write_text(
            training_curves(state.history), encoding="utf-8"
        ),
    )
    trained = Trained.of(options.output, state)
    say(str(trained))
    return trained


def _beginner(options: DistillOptions, texts: Sequence[str], corpus: str) -> tuple[Any, ...]:
    """What the training begins with.

    That is the student's config, its tokenizer, what tells its tokens from those of others, and a
    function of the texts' tokens that gives the first weights.
    """
    from transforms.training.contrastive import load_tokenizer
    from transforms.training.distillation_data import Tokens
    from transforms.training.export import read_model
    from transforms.training.initialization import start_weights, whole_words
    from transforms.training.vocabulary import albert_tokenizer, pieces, train_vocabulary

    if options.student is not None:
        config, weights = read_model(options.student)
        check_student(options, config)
        tokenizer = load_tokenizer(options.student, config.vocab_size)
        return config, tokenizer, fingerprint(options.student / "tokenizer.json"), lambda _: weights
    size = options.shape.vocab_size
    known = whole_words(options.teacher)
    digest = hashlib.sha256("\n".join([corpus, *known]).encode()).hexdigest()[:16]
    sentencepiece = remembered(
        options.work / f"vocabulary-{digest}-{size}.model",
        lambda: train_vocabulary(texts, size, words=known),
    )

    def start(tokens: Tokens) -> Any:
        vocabulary = [piece for piece, _ in pieces(sentencepiece)]
        counts = tokens.counts(len(vocabulary))
        return start_weights(options.teacher, options.shape, vocabulary, counts)

    return (
        options.shape.config(),
        albert_tokenizer(sentencepiece, options.max_tokens),
        f"{digest}-{size}",
        start,
    )


def check_student(options: DistillOptions, config: Any) -> None:
    """Raise BadInput where a student can't learn from the teacher."""
    from transforms.training.teacher import width_of

    width = width_of(options.teacher)
    if config.hidden_size != width:
        raise BadInput(
            f"--student {options.student} has vectors of {config.hidden_size} dimensions and "
            f"--teacher {options.teacher} of {width}: give two of one width"
        )
    if options.max_tokens > config.max_position_embeddings:
        raise BadInput(
            f"--max-tokens {options.max_tokens} is more than the {config.max_position_embeddings} "
            f"that --student {options.student} has positions for"
        )


def _beginning(student: Path) -> dict[str, object]:
    """What of a model decides where its distillation leads."""
    names = ("config.json", "model.safetensors", "tokenizer.json")
    return {"student": [fingerprint(student / name) for name in names if (student / name).exists()]}
