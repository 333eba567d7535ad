"""The training loop that `distill` and `finetune` share: steps, schedule, checkpoints, resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from transforms.errors import AlbeamError, BadInput
from transforms.runtime.signals import held_back
from transforms.training.optimizers import Optimizers

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    steps: optimizer steps in all. minutes: where given, training also ends after so much time and
    the learning rate falls accordingly (then equal seeds no longer give equal weights).
    """

    steps: int
    rate: float
    warmup: float = 0.03
    minutes: float | None = None
    decay: float = 0.01
    clip: float = 1.0
    evaluate_every: int = 100
    patience: int = 20

    def progress(self, step: int, seconds: float) -> float:
        """Say which share of the training is done, from 0 to 1."""
        share = step / max(1, self.steps)
        if self.minutes is not None:
            share = max(share, seconds / (60 * self.minutes))
        return min(1.0, share)

    def factor(self, progress: float) -> float:
        """Scale the rate: a linear rise over `warmup`, then half a cosine down to zero."""
        if progress < self.warmup:
            return max(0.01, progress / self.warmup)
        rest = (progress - self.warmup) / (1 - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))


@dataclass
class State:
    """What a checkpoint holds beside weights and optimizer."""

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """One line of progress; no loss stands for the model as it came."""

    step: int
    steps: int
    loss: float | None
    left: float
    metrics: Mapping[str, float]

    def __str__(self) -> str:
        """Write it as one line."""
        named = "  ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        loss = "" if self.loss is None else f"loss {self.loss:.4f}  "
        left = f"  {self.left / 60:.0f} min left" if self.step else ""
        return f"step {self.step}/{self.steps}  {loss}{named}{left}"


class Trainer:
    """Runs steps over batches and can stop and go on at any checkpoint.

    On a CPU it goes on bit for bit; CUDA adds in an order of its own.

    `batches(start)` yields the batches from optimizer step `start` on, depending on nothing but
    the seed; `loss(batch)` returns a scalar with gradient and the parts to report;
    `evaluate()` returns metrics, the one named "score" rising as the model gets better.
    """

    CHECKPOINT_SECONDS = 180.0

    def __init__(
        self,
        model: torch.nn.Module,
        schedule: Schedule,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        batches: Callable[[int], Iterator[Any]],
        loss: Callable[[Any], tuple[torch.Tensor, dict[str, float]]],
        evaluate: Callable[[], dict[str, float]],
        report: Callable[[Report], None],
    ) -> None:
        self.model, self.schedule, self.folder = model, schedule, folder
        self.settings = dict(settings)
        self.batches, self.loss, self.evaluate, self.report = batches, loss, evaluate, report
        self.optimizers = Optimizers.of(model, schedule.rate, schedule.decay)
        self.state = State()
        self.best: dict[str, torch.Tensor] | None = None
        self.told = (0.0, 0.0)  # progress and seconds at the last report

    def resume(self) -> bool:
        """Load the last checkpoint if there is one.

        Raises BadInput where it was made with other settings, naming the first difference.
        """
        same_settings(self.folder, self.settings)
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizers.load(saved["optimizers"])
        self.state, self.best = State(**json.loads(saved["state"])), saved["best"]
        return True

    def save(self) -> None:
        """Write a checkpoint, so that the old one stays whole until the new one is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "settings": json.dumps(self.settings),
            "state": json.dumps(asdict(self.state)),
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state(),
            "best": self.best,
        }
        partial = self.folder / f"{CHECKPOINT}.partial"
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.folder / CHECKPOINT)

    def run(self) -> State:
        """Train to the end, and leave the best weights in the model.

        Raises AlbeamError where loss or gradient are not finite; the last checkpoint stays. An
        interrupt waits for the end of a step, a part of the teacher's vectors that it may need
        first, and a checkpoint.
        """
        with held_back("a checkpoint is written") as interrupted:
            self._learn(interrupted)
        if interrupted():
            raise KeyboardInterrupt
        if self.best is not None:
            self.model.load_state_dict(self.best)
        return self.state

    def _learn(self, interrupted: Callable[[], bool]) -> None:
        state, schedule = self.state, self.schedule
        last_save = began = time.monotonic()
        before, running, count = state.seconds, 0.0, 0
        self.told = (schedule.progress(state.step, before), before)
        parts: dict[str, float] = {}
        for batch in self.batches(state.step):
            state.seconds = before + time.monotonic() - began
            progress = schedule.progress(state.step, state.seconds)
            if progress >= 1 or state.stale > schedule.patience or interrupted():
                break
            loss, detail = self.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), schedule.clip)
            value = loss.item()
            self.check_finite(value, norm.item())
            self.optimizers.step(schedule.factor(progress))
            state.step += 1
            running, count = running + value, count + 1
            for name, value in detail.items():
                parts[name] = parts.get(name, 0.0) + value
            if state.step % schedule.evaluate_every == 0:
                means = {name: value / count for name, value in parts.items()}
                self.judge(running / count, means)
                running, count, parts = 0.0, 0, {}
            state.seconds = before + time.monotonic() - began
            if interrupted():
                break
            if time.monotonic() - last_save > self.CHECKPOINT_SECONDS:
                self.save()
                last_save = time.monotonic()
        self.save()
        judged = state.history[-1]["step"] if state.history else -1
        if judged < state.step and not interrupted():
            means = {name: value / count for name, value in parts.items()}
            self.judge(running / count if count else None, means)

    def check_finite(self, loss: float, norm: float) -> None:
        """Raise AlbeamError, before the step, where it would spoil the weights."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise AlbeamError(
                f"step {self.state.step + 1} has the loss {loss:.4g} and gradients of norm "
                f"{norm:.4g}: lower --rate of {self.schedule.rate:g} (the last checkpoint "
                f"in {self.folder} is sound)"
            )

    def judge(self, loss: float | None, parts: Mapping[str, float]) -> None:
        """Evaluate, keep the weights if they are the best so far, and report."""
        self.model.eval()
        with torch.inference_mode():
            metrics = self.evaluate()
        self.model.train()
        state = self.state
        if metrics["score"] > state.best:
            state.best, state.best_step, state.stale = metrics["score"], state.step, 0
            self.best = {n: t.detach().cpu().clone() for n, t in self.model.state_dict().items()}
        else:
            state.stale += 1
        known = {} if loss is None else {"loss": loss}
        state.history.append({"step": state.step, **known, **metrics, **parts})
        # By the last stretch: a first pass waits for the teacher, a resume may be elsewhere.
        done, (before, then) = self.schedule.progress(state.step, state.seconds), self.told
        left = (state.seconds - then) * (1 - done) / max(done - before, 1e-9)
        self.told = (done, state.seconds)
        self.report(Report(state.step, self.schedule.steps, loss, left, {**metrics, **parts}))


def same_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise BadInput, naming the first difference, where a checkpoint has other settings."""
    path = folder / CHECKPOINT
    if not path.exists():
        return
    was = json.loads(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["settings"])
    for name, value in json.loads(json.dumps(dict(settings))).items():
        if was.get(name) != value:
            raise BadInput(
                f"{path} was made with {name} {was.get(name)}, not {value}: "
                "resume with the same settings, or train anew without --resume"
            )
