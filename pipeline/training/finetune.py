"""albeam finetune: teach a distilled model to find the passages that answer questions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.training.options import Trained, TrainingOptions, fingerprint
from transforms.errors import BadInput
from transforms.evaluation.plots import training_curves
from transforms.training.inputs import check_output

NEGATIVES = ("bm25", "none")


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(TrainingOptions):
    """What `albeam finetune` was asked for."""

    deciding: ClassVar = (
        *TrainingOptions.deciding,
        *("negatives", "passage_tokens", "passages", "neighbours", "questions"),
        *("temperature", "keep"),
    )
    least: ClassVar = {
        **TrainingOptions.least,
        **{"max_tokens": 8, "passage_tokens": 8, "questions": 1, "keep": 0},
    }
    above_zero: ClassVar = (*TrainingOptions.above_zero, "temperature")

    model: Path
    pairs: tuple[tuple[Path, Path], ...]
    distilled: Path | None = None
    negatives: str = "bm25"
    max_tokens: int | None = None
    passage_tokens: int | None = None
    passages: int = 48
    neighbours: int = 4
    questions: int = 4
    temperature: float = 0.05
    keep: float | None = None
    average: float = 1.0
    evaluate_every: int = 50

    def __post_init__(self) -> None:
        """Raise BadInput for options that cannot work."""
        super().__post_init__()
        if self.negatives not in NEGATIVES:
            raise BadInput(f"--negatives {self.negatives} is unknown: use bm25 or none")
        if self.passages < 2:
            raise BadInput(
                f"--passages {self.passages} leaves nothing to tell apart: use 2 or more"
            )
        if not 1 <= self.neighbours <= self.passages:
            raise BadInput(
                f"--neighbours {self.neighbours} is not within 1 and --passages {self.passages}"
            )
        if self.keep is not None and self.distilled is None:
            raise BadInput(
                f"--keep {self.keep} weighs the lessons of a distillation: name its work folder "
                "as --distilled, or keep to the start by an --average below 1"
            )
        if self.output.absolute() == self.model.absolute():
            raise BadInput(f"--output {self.output} is the --model itself: name another folder")
        if not 0 < self.average <= 1:
            raise BadInput(f"--average {self.average} is not within 0 and 1")

    def all_settings(self, lessons: Any | None) -> dict[str, object]:
        """Name all that decides the weights: a resume must find the same."""
        kept = None
        if self.distilled is not None and lessons is not None:
            kept = [fingerprint(self.distilled / "lessons.json"), lessons.standing_parts()]
        return {
            "model": fingerprint(self.model / "model.safetensors"),
            "pairs": [[fingerprint(path) for path in pair] for pair in self.pairs],
            "distilled": kept,
            "rivals": "of all passages",
            **self.settings(),
        }


def finetune(options: FinetuneOptions, tell: Callable[[str], object] = print) -> Trained:
    """Train on the pairs, and write the model folder.

    Raises:
        BadInput: before any training, where model, pairs, lessons, sizes, folders or what a resume
            finds don't fit.
        AlbeamError: the loss is not finite any more.
    """
    from pipeline.training.work_folder import begin_work
    from transforms.training.contrastive import Finetuning, TokenizedPairs, load_tokenizer, rounds
    from transforms.training.distillation_data import kept_lessons, vocabulary_of
    from transforms.training.export import longest, read_model, write_model
    from transforms.training.pairs import HELD_OUT, Contests, held_out, read_pairs
    from transforms.training.student import Student, place
    from transforms.training.trainer import Schedule, Trainer

    began = time.monotonic()

    def say(line: str) -> None:
        tell(f"{time.monotonic() - began:7.0f} s  {line}")

    check_output(options.output, options.work)
    config, weights = read_model(options.model)
    max_tokens = options.max_tokens or longest(options.model, config)
    passage_tokens = options.passage_tokens or max_tokens
    for name, value in (("max", max_tokens), ("passage", passage_tokens)):
        if value > config.max_position_embeddings:
            raise BadInput(
                f"--{name}-tokens {value} is more than the {config.max_position_embeddings} that "
                f"--model {options.model} has positions for"
            )
    tokenizer = load_tokenizer(options.model, config.vocab_size)
    corpora = [read_pairs(*pair) for pair in options.pairs]
    lessons = None
    if options.distilled is not None:
        lessons = kept_lessons(
            options.distilled,
            vocabulary_of(tokenizer),
            config.hidden_size,
            options.batch_tokens,
            options.seed,
        )
    placement = place(options.device, options.precision)
    settings = {**options.all_settings(lessons), **asdict(placement)}
    begin_work(options.work, settings, options.resume)

    tokens = [TokenizedPairs.of(pairs, tokenizer, passage_tokens) for pairs in corpora]
    left_out = [held_out(pairs, *HELD_OUT, options.seed) for pairs in corpora]
    hard = options.negatives == "bm25"
    rivals: list[list[list[int]]] = [
        rows.rivals(pairs, config.vocab_size) if hard else [[] for _ in pairs.passages]
        for rows, pairs in zip(tokens, corpora, strict=True)
    ]
    say("mined the hard negatives" if hard else "takes negatives as they come")
    contests = Contests(
        corpora,
        rivals,
        left_out,
        passages=options.passages,
        neighbours=options.neighbours,
        questions=options.questions,
        seed=options.seed,
    )
    steps = len(contests.epoch(0))
    if not steps:
        raise BadInput(
            f"{options.pairs[0][0]} leave no two answered passages to tell apart, those held out "
            "for validation left out: give more pairs"
        )
    student = Student(config, weights, placement)
    learning = Finetuning(
        student,
        corpora,
        tokens,
        temperature=options.temperature,
        keep=1.0 if options.keep is None else options.keep,
        budget=options.batch_tokens,
    )
    kept = lessons.held_out() if lessons else []
    trainer = Trainer(
        student.model,
        Schedule(
            steps=max(1, round(options.epochs * steps)),
            rate=options.rate,
            minutes=options.minutes,
            evaluate_every=options.evaluate_every,
        ),
        options.work,
        settings,
        batches=lambda start: rounds(
            contests.batches(start), lessons.batches(start) if lessons else None
        ),
        loss=learning.loss,
        evaluate=lambda: learning.evaluate(left_out, 200, kept),
        report=lambda report: say(str(report)),
    )
    if options.resume and trainer.resume():
        say(f"goes on from step {trainer.state.step}")
    else:
        trainer.judge(None, {})
    state = trainer.run()
    share = options.average
    mixed = {n: share * a + (1 - share) * weights[n] for n, a in student.weights().items()}
    write_model(
        options.output,
        config,
        mixed,
        tokenizer,
        max_tokens,
        also=lambda made: (made / "finetune.svg").write_text(
            training_curves(state.history), encoding="utf-8"
        ),
    )
    trained = Trained.of(options.output, state)
    say(str(trained))
    return trained
