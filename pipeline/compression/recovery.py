"""The recovery of a pruned model: a distillation from the original."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.compression.options import CompressOptions
from pipeline.training.reports import reporter, resume, write_records
from pipeline.training.result import TrainingResult
from pipeline.training.work_folder import fingerprint, prepare_work_folder
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.training.adapters import choose_weights
from transforms.training.distillation_data import DistillationData, tokenize_corpus
from transforms.training.optimizers import Schedule
from transforms.training.student import LossWeights, Student
from transforms.training.teacher import Teacher, TeacherVectors, check_teacher
from transforms.training.trainer import Trainer

Weights = Mapping[str, npt.NDArray[np.floating[Any]]]
#: Texts of a part of the original's vectors. A short recovery computes few parts.
_PART_ROWS = 1_000


def check_recovery(options: CompressOptions) -> None:
    """Raise BadInput if the original can't teach."""
    try:
        check_teacher(options.model)
    except BadInput as error:
        raise BadInput("model", str(options.model), error.problem, error.remedy) from error


def recover(
    options: CompressOptions,
    config: Any,
    weights: Weights,
    tokenizer: Any,
    texts: Sequence[str],
    limit: int,
    placement: Placement,
    tell: Callable[[str], object],
) -> tuple[Weights, TrainingResult, Callable[[Path], None]]:
    """Train a pruned network to give the vectors of the original.

    Args:
        options: the options of the command.
        config: the config of the pruned network.
        weights: its weights.
        tokenizer: the tokenizer of both.
        texts: all texts; the last ones are held out.
        limit: where texts are cut.
        placement: where to train.
        tell: receives progress.

    Returns:
        The weights, the result, and a function that writes the records into the model's folder.

    Raises:
        BadInput: the checkpoint was made with other settings.
        AlbeamError: the loss is no longer finite.
    """
    corpus = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    settings = {
        "model": fingerprint(options.model / "model.safetensors"),
        "texts": corpus,
        **asdict(options.pruning),
        **options.settings(),
        **asdict(placement),
    }
    work = options.work
    prepare_work_folder(work, settings, options.resume)
    key = f"{settings['model']}-{corpus}-{limit}"
    targets = TeacherVectors(
        lambda: Teacher(options.model, placement),
        texts,
        work / f"vectors-{key}",
        rows=_PART_ROWS,
        max_tokens=limit,
    )
    tokens = tokenize_corpus(tokenizer, texts, limit, work / f"tokens-{key}.parquet")
    tell(f"{len(tokens.ids)} tokens of {len(texts)} texts")
    data = DistillationData(
        tokens, targets, len(texts) - options.held_out, options.batch_tokens, options.seed
    )
    student = Student(config, weights, placement, options.dropout)
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
        report=reporter(options, tell),
        seed=options.seed,
    )
    resume(trainer, options, tell)
    if not trainer.state.history:
        # So that the first weights stay if no step is better.
        trainer.validate(None, {})
    state = trainer.run()
    result = TrainingResult.from_state(options.output, state)
    tell(f"recovered: the weights of step {result.best_step} have the cosine {result.score:.4f}")
    return student.weights(), result, partial(write_records, name="recover", history=state.history)
