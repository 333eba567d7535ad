"""``albeam finetune``: train a model to find the passages that answer questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.training.near_words import find_near_words
from pipeline.training.options import FinetuneOptions
from pipeline.training.reports import reporter, resume, shown_settings, write_records
from pipeline.training.result import TrainingResult
from pipeline.training.timed_log import timed_log
from pipeline.training.work_folder import fingerprint, prepare_work_folder
from transforms.errors import BadInput
from transforms.tasks.data.augmentation import augment
from transforms.tasks.networks.cards import model_card
from transforms.training.adapters import choose_weights
from transforms.training.checkpoints import State
from transforms.training.contrastive import (
    ContrastiveObjective,
    TokenizedPairs,
    join_batches,
    load_tokenizer,
    token_ids,
)
from transforms.training.distillation_data import (
    DATA_FILE,
    DistillationData,
    load_data,
    vocabulary_hash,
)
from transforms.training.export import max_tokens_of, read_model, write_model
from transforms.training.hard_negatives import Int32
from transforms.training.inputs import check_output
from transforms.training.optimizers import Schedule
from transforms.training.pairs import HELD_OUT, PairBatch, PairData, draw_held_out, read_pairs
from transforms.training.student import Student, resolve_training_placement
from transforms.training.trainer import Trainer

#: Questions of a corpus that an evaluation asks, at most.
_QUESTIONS = 200
_USAGE = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{folder}")
vectors = model.encode(["a text", "another text"])"""


def finetune(options: FinetuneOptions, log: Callable[[str], object] = print) -> TrainingResult:
    """Train on the pairs, and write the model.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, pairs, distillation data, sizes, folders or the checkpoint to resume don't
            fit. Raised before the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell = timed_log(log)
    check_output(options.output, options.work)
    config, weights = read_model(options.model)
    max_tokens = options.max_tokens or max_tokens_of(options.model, config)
    passage_tokens = options.passage_tokens or max_tokens
    for name, value in (("max_tokens", max_tokens), ("passage_tokens", passage_tokens)):
        if value > config.max_position_embeddings:
            raise BadInput(
                name,
                value,
                f"must not exceed the {config.max_position_embeddings} positions of the model "
                f"{options.model}",
                f"Give {config.max_position_embeddings} or less",
            )
    tokenizer = load_tokenizer(options.model, config.vocab_size)
    corpora = [read_pairs(*pair) for pair in options.pairs]
    distillation = None
    if options.distilled is not None:
        distillation = load_data(
            options.distilled,
            vocabulary_hash(tokenizer),
            config.hidden_size,
            options.batch_tokens,
            options.seed,
        )
    placement = resolve_training_placement(options.device, options.precision)
    settings = {**_settings(options, distillation), **asdict(placement)}
    prepare_work_folder(options.work, settings, options.resume)
    report = reporter(options, tell)

    tokens = [TokenizedPairs.tokenize(pairs, tokenizer, passage_tokens) for pairs in corpora]
    held_out = [draw_held_out(pairs, *HELD_OUT, options.seed) for pairs in corpora]
    mine = options.negatives == "bm25"
    negatives: list[list[list[int]]] = [
        rows.hard_negatives(pairs, config.vocab_size) if mine else [[] for _ in pairs.passages]
        for rows, pairs in zip(tokens, corpora, strict=True)
    ]
    tell("mined the hard negatives" if mine else "no hard negatives")
    pair_data = PairData(
        corpora,
        negatives,
        held_out,
        passages=options.passages,
        neighbours=options.neighbours,
        questions=options.questions,
        seed=options.seed,
    )
    steps = len(pair_data.epoch(0))
    if not steps:
        raise BadInput(
            "pairs",
            str(options.pairs[0][0]),
            "leaves fewer than two passages to train on after validation takes its share",
            "Give more pairs",
        )
    student = Student(config, weights, placement, options.dropout)
    choose_weights(student.model, options.train, options.lora_rank, options.seed)
    texts = [text for pairs in corpora for text in (*pairs.passages, *pairs.questions)]
    near = find_near_words(options, student.model, tokenizer, texts)

    def changed(batch: PairBatch) -> list[Int32]:
        pairs = corpora[batch.corpus]
        own = [pairs.passages[n] for n in batch.passages]
        own += [pairs.questions[n] for n in batch.questions]
        own = augment(own, options.augment, (options.seed, 3, *batch.place), near)
        return token_ids(tokenizer, own, passage_tokens)

    objective = ContrastiveObjective(
        student,
        corpora,
        tokens,
        temperature=options.temperature,
        keep=1.0 if options.keep is None else options.keep,
        batch_tokens=options.batch_tokens,
        changed=changed if options.augment else None,
    )
    held_out_batches = distillation.held_out() if distillation else []
    trainer = Trainer(
        student.model,
        Schedule.of(options, steps),
        options.work,
        settings,
        batches=lambda start: join_batches(
            pair_data.batches(start), distillation.batches(start) if distillation else None
        ),
        loss=objective.loss,
        evaluate=lambda: objective.evaluate(held_out, _QUESTIONS, held_out_batches),
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

    def write_extra(folder: Path) -> None:
        write_records(folder, "finetune", state.history)
        (folder / "README.md").write_text(_card(options, result, state), encoding="utf-8")

    write_model(
        options.output, config, student.weights(), tokenizer, max_tokens, write_extra=write_extra
    )
    tell(str(result))
    return result


def _card(options: FinetuneOptions, result: TrainingResult, state: State) -> str:
    """Return the model card."""
    return model_card(
        options.output.name,
        "A sentence encoder that finds the passages that answer questions, for `albeam embed`. "
        "`albeam finetune retrieve` trained it.",
        data={
            "passages": ", ".join(passages.name for passages, _ in options.pairs),
            "questions": ", ".join(questions.name for _, questions in options.pairs),
            "distillation": "none" if options.distilled is None else options.distilled.name,
        },
        settings={
            "model": options.model.name,
            **shown_settings(options, state),
            "average": options.average,
        },
        metrics=result.metrics,
        usage=_USAGE.format(folder=options.output.name),
    )


def _settings(options: FinetuneOptions, distillation: DistillationData | None) -> dict[str, Any]:
    """Return everything that decides the weights; a resume requires the same settings."""
    distilled: Sequence[object] | None = None
    if options.distilled is not None and distillation is not None:
        distilled = [fingerprint(options.distilled / DATA_FILE), distillation.part_numbers()]
    return {
        "model": fingerprint(options.model / "model.safetensors"),
        "pairs": [[fingerprint(path) for path in pair] for pair in options.pairs],
        "distilled": distilled,
        # The name under which checkpoints hold how hard negatives are mined.
        "rivals": "of all passages",
        **options.settings(),
    }
