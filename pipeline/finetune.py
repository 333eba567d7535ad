"""albeam finetune: teach a distilled model to find the passages that answer questions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.training_options import TrainingOptions, fingerprint
from transforms.curves import curve
from transforms.errors import BadInput

NEGATIVES = ("bm25", "none")


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(TrainingOptions):
    """What `albeam finetune` was asked for."""

    deciding: ClassVar = (
        *TrainingOptions.deciding,
        *("negatives", "passage_tokens", "passages", "neighbours", "questions"),
        *("temperature", "keep"),
    )

    model: Path
    pairs: tuple[tuple[Path, Path], ...]
    distilled: Path | None = None
    negatives: str = "bm25"
    passage_tokens: int = 256
    passages: int = 48
    neighbours: int = 4
    questions: int = 4
    temperature: float = 0.05
    keep: float = 1.0
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
        if not 0 < self.average <= 1:
            raise BadInput(f"--average {self.average} is not within 0 and 1")

    def all_settings(self) -> dict[str, object]:
        """Name all that decides the weights: a resume must find the same."""
        return {
            "model": fingerprint(self.model / "model.safetensors"),
            "pairs": [[fingerprint(path) for path in pair] for pair in self.pairs],
            "distilled": self.distilled is not None,
            **self.settings(),
        }


def finetune(options: FinetuneOptions) -> None:
    """Train on the pairs, and write the model folder."""
    from pipeline.distill import begin_work
    from transforms.distillation import Student, place
    from transforms.finetuning import Finetuning, TokenizedPairs, load_tokenizer, rounds
    from transforms.lessons import kept_lessons
    from transforms.model_files import read_model, write_model
    from transforms.pairs import HELD_OUT, Contests, held_out, read_pairs
    from transforms.training import Schedule, Trainer

    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.0f} s  {line}", flush=True)

    config, weights = read_model(options.model)
    corpora = [read_pairs(*pair) for pair in options.pairs]
    lessons = None
    if options.distilled is not None:
        size = config.vocab_size
        lessons = kept_lessons(options.distilled, size, options.batch_tokens, options.seed)
    settings = options.all_settings()
    begin_work(options.work, settings, options.resume)

    tokenizer = load_tokenizer(options.model, config.vocab_size)
    tokens = [TokenizedPairs.of(pairs, tokenizer, options.passage_tokens) for pairs in corpora]
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
    student = Student(config, weights, place(options.device, options.precision))
    learning = Finetuning(
        student,
        corpora,
        tokens,
        temperature=options.temperature,
        keep=options.keep,
        budget=options.batch_tokens,
    )
    kept = lessons.held_out() if lessons else []
    trainer = Trainer(
        student.model,
        Schedule(
            steps=max(1, round(options.epochs * len(contests.epoch(0)))),
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
        trainer.judge(float("nan"), {})
    state = trainer.run()
    share = options.average
    mixed = {n: share * a + (1 - share) * weights[n] for n, a in student.weights().items()}
    write_model(options.output, config, mixed, tokenizer, options.max_tokens)
    curve(state.history[1:], options.output / "finetune.png")
    say(f"wrote {options.output}")
