"""albeam finetune: teach a distilled model to find the passages that answer questions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from transforms.curves import curve
from transforms.errors import BadInput

NEGATIVES = ("bm25", "none")


@dataclass(frozen=True)
class FinetuneOptions:
    """What `albeam finetune` was asked for."""

    model: Path
    pairs: tuple[tuple[Path, Path], ...]
    output: Path
    work: Path
    distilled: Path | None = None
    negatives: str = "bm25"
    max_tokens: int = 256
    passage_tokens: int = 256
    batch_tokens: int = 4096
    passages: int = 48
    questions: int = 4
    epochs: float = 1.0
    minutes: float | None = None
    rate: float = 3e-4
    temperature: float = 0.05
    keep: float = 1.0
    average: float = 1.0
    seed: int = 17
    device: str = "auto"
    precision: str = "auto"
    evaluate_every: int = 50
    resume: bool = False

    def __post_init__(self) -> None:
        """Raise BadInput for options that cannot work."""
        if self.negatives not in NEGATIVES:
            raise BadInput(f"--negatives {self.negatives} is unknown: use bm25 or none")
        if self.passages < 2:
            raise BadInput(
                f"--passages {self.passages} leaves nothing to tell apart: use 2 or more"
            )
        if not 0 < self.average <= 1:
            raise BadInput(f"--average {self.average} is not within 0 and 1")
        if self.epochs <= 0:
            raise BadInput(f"--epochs {self.epochs} is not above 0")

    def settings(self) -> dict[str, object]:
        """Name all that decides the weights: a resume must find the same."""
        from pipeline.distill import fingerprint

        chosen = (
            "negatives passage_tokens batch_tokens passages questions epochs minutes rate "
            "temperature keep seed"
        )
        return {
            "model": fingerprint(self.model / "model.safetensors"),
            "pairs": [[fingerprint(path) for path in pair] for pair in self.pairs],
            "distilled": self.distilled is not None,
            **{name: getattr(self, name) for name in chosen.split()},
        }


def finetune(options: FinetuneOptions) -> None:
    """Train on the pairs, and write the model folder."""
    from pipeline.distill import begin_work
    from transforms.distillation import Student, choose_device, choose_precision
    from transforms.finetuning import Finetuning, TokenizedPairs, load_tokenizer, rounds
    from transforms.lessons import kept_lessons
    from transforms.model_files import read_model, write_model
    from transforms.pairs import Contests, held_out, read_pairs
    from transforms.training import Schedule, Trainer

    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.0f} s  {line}", flush=True)

    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    config, weights = read_model(options.model)
    corpora = [read_pairs(*pair) for pair in options.pairs]
    lessons = None
    if options.distilled is not None:
        size = config.vocab_size
        lessons = kept_lessons(options.distilled, size, options.batch_tokens, options.seed)
    settings = options.settings()
    begin_work(options.work, settings, options.resume)

    tokenizer = load_tokenizer(options.model, config.vocab_size)
    tokens = [TokenizedPairs.of(pairs, tokenizer, options.passage_tokens) for pairs in corpora]
    left_out = [held_out(pairs, 0.05, 150, options.seed) for pairs in corpora]
    hard = options.negatives == "bm25"
    rivals: list[list[list[int]]] = [
        rows.rivals(pairs, config.vocab_size) if hard else [[] for _ in pairs.passages]
        for rows, pairs in zip(tokens, corpora, strict=True)
    ]
    say("mined the hard negatives" if hard else "takes negatives as they come")
    contests = Contests(
        corpora, rivals, left_out, options.passages, 4, options.questions, options.seed
    )
    student = Student(config, weights, device, precision)
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
