"""``albeam distill``: train an ALBERT sentence encoder from a teacher and texts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.training.options import DistillOptions
from pipeline.training.reports import reporter, resume, shown_settings, write_records
from pipeline.training.result import TrainingResult
from pipeline.training.teachers import check_teachers, load_teacher, teacher_settings
from pipeline.training.timed_log import timed_log
from pipeline.training.work_folder import (
    fingerprint,
    prepare_work_folder,
    read_or_create,
    read_texts,
)
from transforms.errors import BadInput
from transforms.tasks.networks.cards import model_card
from transforms.training.adapters import choose_weights
from transforms.training.checkpoints import State
from transforms.training.contrastive import load_tokenizer
from transforms.training.distillation_data import (
    PART_ROWS,
    DistillationData,
    Tokens,
    record_data,
    tokenize_corpus,
    vocabulary_hash,
)
from transforms.training.export import read_model, write_model
from transforms.training.initialization import (
    albert_config,
    check_source,
    start_weights,
    whole_words,
)
from transforms.training.inputs import check_output
from transforms.training.optimizers import Schedule
from transforms.training.student import LossWeights, Student, resolve_training_placement
from transforms.training.teacher import TeacherVectors, vector_width
from transforms.training.trainer import Trainer
from transforms.training.vocabulary import albert_tokenizer, pieces, train_vocabulary

#: One order of the texts, so that the teacher's vectors serve every --seed.
_ORDER = 17
_USAGE = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{folder}")
vectors = model.encode(["a text", "another text"])"""


@dataclass(frozen=True)
class _Start:
    """The student before training.

    Attributes:
        config: the network's config.
        tokenizer: the student's tokenizer.
        tokenizer_key: distinguishes its tokens from those of other tokenizers.
        weights: returns the first weights, given the tokens of the texts.
    """

    config: Any
    tokenizer: Any
    tokenizer_key: str
    weights: Callable[[Tokens], Mapping[str, Any]]


def distill(options: DistillOptions, log: Callable[[str], object] = print) -> TrainingResult:
    """Train a new student with its vocabulary, or an existing student, and write the model.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: teacher, texts, sizes, folders or the checkpoint to resume don't fit. Raised
            before the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell = timed_log(log)

    placement = resolve_training_placement(options.device, options.precision)
    check_output(options.output, options.work)
    check_teachers(options)
    if options.student is None:
        check_source(options.teacher, options.shape)
    texts = read_texts(options.texts)
    if len(texts) < max(100, 2 * options.held_out):
        raise BadInput(
            "texts",
            None,
            f"hold {len(texts)} different texts, too few with {options.held_out} held out",
            "Give more texts or a smaller --held-out",
        )
    corpus = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    settings = {**_settings(options, corpus), **asdict(placement)}
    work = options.work
    prepare_work_folder(work, settings, options.resume)
    report = reporter(options, tell)

    start = _load_student(options) if options.student else _new_student(options, texts, corpus)
    random.Random(_ORDER).shuffle(texts)
    tell(f"vocabulary of {start.config.vocab_size} pieces")
    teachers = "-".join(str(each) for each in teacher_settings(options).values())
    vectors = work / f"teacher-{teachers}-{corpus}-{options.max_tokens}"
    targets = TeacherVectors(
        lambda: load_teacher(options, placement, texts, vectors),
        texts,
        vectors,
        rows=PART_ROWS,
        max_tokens=options.max_tokens,
    )
    token_file = work / f"tokens-{corpus}-{start.tokenizer_key}-{options.max_tokens}.parquet"
    tokens = tokenize_corpus(start.tokenizer, texts, options.max_tokens, token_file)
    tell(f"{len(tokens.ids)} tokens of {len(texts)} texts")
    train_texts = len(texts) - options.held_out
    data = DistillationData(tokens, targets, train_texts, options.batch_tokens, options.seed)
    record_data(work, token_file, vectors, train_texts, vocabulary_hash(start.tokenizer))
    student = Student(start.config, start.weights(tokens), placement, options.dropout)
    choose_weights(student.model, options.train, options.lora_rank, options.seed)
    held_out = data.held_out()
    trainer = Trainer(
        student.model,
        Schedule.of(options, data.steps()),
        work,
        settings,
        batches=data.batches,
        loss=lambda batch: student.distillation_loss(batch, LossWeights()),
        evaluate=lambda: student.teacher_cosine(held_out),
        report=report,
        seed=options.seed,
    )
    resume(trainer, options, tell)
    state = trainer.run()
    result = TrainingResult.from_state(options.output, state)

    def write_extra(folder: Path) -> None:
        write_records(folder, "distill", state.history)
        card = _card(options, result, state, len(texts))
        (folder / "README.md").write_text(card, encoding="utf-8")

    write_model(
        options.output,
        start.config,
        student.weights(),
        start.tokenizer,
        options.max_tokens,
        write_extra=write_extra,
    )
    tell(str(result))
    return result


def _card(options: DistillOptions, result: TrainingResult, state: State, texts: int) -> str:
    """Return the model card."""
    return model_card(
        options.output.name,
        "A sentence encoder whose vectors are near those of its teacher. `albeam distill` trained "
        "it. The score is the mean cosine of both on texts that were held out.",
        data={
            "files": ", ".join(path.name for path in options.texts),
            "different texts": texts,
            "of these held out": options.held_out,
        },
        settings={
            **_teachers(options),
            "start": "the teacher's layers" if options.student is None else options.student.name,
            **shown_settings(options, state),
        },
        metrics=result.metrics,
        usage=_USAGE.format(folder=options.output.name),
        limits=("What its teacher gets wrong, it gets wrong too.",),
    )


def _teachers(options: DistillOptions) -> dict[str, object]:
    """Return the teachers as the card names them."""
    shown: dict[str, object] = {"teacher": options.teacher.name}
    if options.second_teacher is not None:
        shown["second teacher"] = options.second_teacher.name
        shown["share of the second teacher"] = options.second_share
    return shown | {"precision of the teacher": options.teacher_precision}


def _settings(options: DistillOptions, corpus: str) -> dict[str, object]:
    """Return everything that decides the weights; a resume requires the same settings."""
    return {
        **teacher_settings(options),
        "texts": corpus,
        **(
            asdict(options.shape)
            if options.student is None
            else {"student": _student_fingerprints(options.student)}
        ),
        **options.settings(),
    }


def _student_fingerprints(student: Path) -> list[str]:
    names = ("config.json", "model.safetensors", "tokenizer.json")
    return [fingerprint(student / name) for name in names if (student / name).exists()]


def _load_student(options: DistillOptions) -> _Start:
    """Load the student that is to be trained further."""
    assert options.student is not None
    config, weights = read_model(options.student)
    _check_student(options, config)
    tokenizer = load_tokenizer(options.student, config.vocab_size)
    key = fingerprint(options.student / "tokenizer.json")
    return _Start(config, tokenizer, key, lambda _: weights)


def _new_student(options: DistillOptions, texts: Sequence[str], corpus: str) -> _Start:
    """Train a vocabulary; the weights start from the teacher's layers."""
    size = options.shape.vocab_size
    known = whole_words(options.teacher)
    digest = hashlib.sha256("\n".join([corpus, *known]).encode()).hexdigest()[:16]
    sentencepiece = read_or_create(
        options.work / f"vocabulary-{digest}-{size}.model",
        lambda: train_vocabulary(texts, size, words=known),
    )

    def weights(tokens: Tokens) -> Mapping[str, Any]:
        vocabulary = [piece for piece, _ in pieces(sentencepiece)]
        counts = tokens.counts(len(vocabulary))
        return start_weights(options.teacher, options.shape, vocabulary, counts)

    return _Start(
        albert_config(options.shape),
        albert_tokenizer(sentencepiece, options.max_tokens),
        f"{digest}-{size}",
        weights,
    )


def _check_student(options: DistillOptions, config: Any) -> None:
    """Raise BadInput if a student can't learn from the teacher."""
    width = vector_width(options.teacher)
    if config.hidden_size != width:
        raise BadInput(
            "student",
            str(options.student),
            f"has vectors of {config.hidden_size} dimensions, and the teacher {options.teacher} "
            f"has {width}",
            "Give a student and a teacher of one width",
        )
    if options.max_tokens > config.max_position_embeddings:
        raise BadInput(
            "max_tokens",
            options.max_tokens,
            f"must not exceed the {config.max_position_embeddings} positions of the student "
            f"{options.student}",
            f"Give {config.max_position_embeddings} or less",
        )
