"""``albeam finetune similar``: train a sentence encoder on pairs with scores of similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.training.near_words import find_near_words
from pipeline.training.reports import reporter, resume, shown_settings, write_records
from pipeline.training.result import TrainingResult
from pipeline.training.task_options import SimilarOptions
from pipeline.training.task_training import (
    begin,
    file_names,
    prepare,
    split_rows,
)
from transforms.errors import BadInput
from transforms.models.sentence_transformers import read_settings as read_sentence_settings
from transforms.tasks.data.augmentation import augment
from transforms.tasks.networks.cards import model_card
from transforms.tasks.networks.similarity_training import (
    PairBatches,
    ScoredPairs,
    SimilarityObjective,
    read_scored_pairs,
)
from transforms.training.adapters import choose_weights
from transforms.training.checkpoints import State
from transforms.training.contrastive import load_tokenizer, token_ids
from transforms.training.export import read_model, write_model
from transforms.training.hard_negatives import Int32
from transforms.training.optimizers import Schedule
from transforms.training.student import Student, resolve_training_placement
from transforms.training.trainer import Trainer

_USAGE = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{folder}")
model.similarity(model.encode("a text"), model.encode("another text"))"""


def finetune_similar(
    options: SimilarOptions, log: Callable[[str], object] = print
) -> TrainingResult:
    """Train an encoder on the pairs, and write it.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, pairs, folders or the checkpoint to resume don't fit. Raised before the
            training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell, max_tokens = begin(options, log, "modules.json")
    config, weights = read_model(options.model, ("albert", "bert"))
    _check_pooling(options.model)
    pairs, asked = _read(options)
    tokenizer = load_tokenizer(options.model, config.vocab_size)
    placement = resolve_training_placement(options.device, options.precision)
    settings = prepare(options, asdict(placement))
    report = reporter(options, tell)

    def ids(texts: Sequence[str]) -> list[Int32]:
        return token_ids(tokenizer, texts, max_tokens)

    tell(f"{len(pairs)} pairs to train on, {len(asked)} held out")
    student = Student(config, weights, placement, options.dropout)
    near = find_near_words(options, student.model, tokenizer, pairs.texts())
    rows, others = ids(pairs.texts()), ids(asked.texts())

    def rows_of(number: int) -> list[Int32]:
        if not options.augment:
            return rows
        return ids(augment(pairs.texts(), options.augment, (options.seed, 3, number), near))

    data = PairBatches(rows_of, options.batch_tokens, options.seed)
    choose_weights(student.model, options.train, options.lora_rank, options.seed)
    objective = SimilarityObjective(student, pairs.scores, options.batch_tokens)
    trainer = Trainer(
        student.model,
        Schedule.of(options, len(data.epoch(0))),
        options.work,
        settings,
        batches=data.batches,
        loss=objective.loss,
        evaluate=lambda: objective.evaluate(others, asked.scores),
        report=report,
        seed=options.seed,
    )
    if not resume(trainer, options, tell):
        trainer.validate(None, {})
    state = trainer.run()
    result = TrainingResult.from_state(options.output, state)
    if options.average < 1:
        student.mix(weights, options.average)
        result = result.measured(trainer.measure())
    card = _card(options, result, state, (len(pairs), len(asked)))

    def write_extra(folder: Path) -> None:
        write_records(folder, "finetune", state.history)
        (folder / "README.md").write_text(card, encoding="utf-8")

    write_model(
        options.output, config, student.weights(), tokenizer, max_tokens, write_extra=write_extra
    )
    tell(str(result))
    return result


def _check_pooling(folder: Path) -> None:
    """Raise BadInput if a model makes its vectors in another way than the training."""
    pooling = read_sentence_settings(str(folder)).get("pooling", "mean")
    if pooling != "mean":
        problem = f"pools its tokens by {pooling}"
        raise BadInput("model", str(folder), problem, "Name a model that pools by mean")


def _read(options: SimilarOptions) -> tuple[ScoredPairs, ScoredPairs]:
    """Return the pairs to train on and those of the validation."""
    columns = (options.first_column, options.second_column, options.score_column)
    pairs = read_scored_pairs(options.data, "data", *columns)
    if options.validation:
        return pairs, read_scored_pairs(options.validation, "validation", *columns)
    kept, held_out = split_rows(np.zeros(len(pairs), np.int64), options.held_out, options.seed)
    if len(held_out) < 3 or len(kept) < 2:
        problem = f"has {len(pairs)} rows, too few to hold some out"
        raise BadInput("data", str(options.data[0]), problem, "Give more rows, or --validation")
    return pairs.take(kept), pairs.take(held_out)


def _card(
    options: SimilarOptions, result: TrainingResult, state: State, counts: tuple[int, int]
) -> str:
    return model_card(
        options.output.name,
        "A sentence encoder: the cosine of two vectors says how similar two texts are. `albeam "
        "finetune similar` trained it.",
        data={
            "files": file_names(options.data),
            "pairs": counts[0],
            "validation pairs": counts[1],
        },
        settings={
            "model": options.model.name,
            **shown_settings(options, state),
            "average": options.average,
        },
        metrics=result.metrics,
        usage=_USAGE.format(folder=options.output.name),
        limits=("It may find passages for questions less well than before.",),
    )
