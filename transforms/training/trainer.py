"""The training loop: optimizers, learning-rate schedule, checkpoints and resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from transforms.errors import AlbeamError, BadInput
from transforms.runtime.signals import defer_signals

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of a training.

    Attributes:
        steps: optimizer steps in all.
        rate: the highest learning rate.
        warmup: the share of the training in which the rate rises.
        minutes: also end after this time, and let the rate fall accordingly. Equal seeds then no
            longer give equal weights. None means no limit.
        decay: weight decay.
        clip: the largest norm of the gradients.
        evaluate_every: steps between evaluations.
        patience: stop after this many evaluations in a row without a better score.
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
        """Return the share of the training that is done, from 0 to 1."""
        share = step / max(1, self.steps)
        if self.minutes is not None:
            share = max(share, seconds / (60 * self.minutes))
        return min(1.0, share)

    def factor(self, progress: float) -> float:
        """Return the factor of the rate: a linear warm-up, then half a cosine down to zero."""
        if progress < self.warmup:
            return max(0.01, progress / self.warmup)
        rest = (progress - self.warmup) / (1 - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))


def group_parameters(
    model: torch.nn.Module,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Return the matrices of layers, other matrices except embeddings, and all other weights."""
    layers: list[torch.nn.Parameter] = []
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        if weight.ndim < 2 or "embeddings." in name:
            rest.append(weight)
        else:
            (layers if weight.ndim == 2 and "layer" in name else matrices).append(weight)
    return layers, matrices, rest


@dataclass(frozen=True)
class Optimizers:
    """Several optimizers that step as one.

    Attributes:
        members: the optimizers; each holds weights of its own.
        rate: the learning rate at a factor of one.
    """

    members: Sequence[torch.optim.Optimizer]
    rate: float

    @classmethod
    def for_model(cls, model: torch.nn.Module, rate: float, decay: float) -> Optimizers:
        """Build Muon (Jordan et al., 2024) for the matrices of layers and AdamW for the rest.

        Muon's steps are scaled to the size of AdamW's (Liu et al., 2025), so one rate serves both.
        Weight decay applies to matrices only, not to embeddings.
        """
        layers, matrices, rest = group_parameters(model)
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        members: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, fused=True)]
        if layers:
            members.append(
                torch.optim.Muon(
                    layers, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
                )
            )
        return cls(members, rate)

    def step(self, factor: float) -> None:
        """Take a step at `factor` times the rate, then clear the gradients."""
        for member in self.members:
            for group in member.param_groups:
                group["lr"] = self.rate * factor
            member.step()
            member.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """Return the state that a checkpoint must hold."""
        return [member.state_dict() for member in self.members]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Restore the result of `state`."""
        for member, saved in zip(self.members, state, strict=True):
            member.load_state_dict(dict(saved))


@dataclass
class State:
    """The progress of a training, kept in checkpoints.

    Attributes:
        step: optimizer steps taken.
        seconds: time spent, earlier runs included.
        best: the best score.
        best_step: the step of the best score.
        stale: evaluations since the best score.
        history: the metrics of each evaluation.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """The result of one evaluation during training.

    Attributes:
        step: optimizer steps taken.
        steps: optimizer steps in all.
        loss: the mean loss since the last evaluation; None before the first step.
        seconds_left: the estimated rest of the training.
        metrics: metrics by name.
    """

    step: int
    steps: int
    loss: float | None
    seconds_left: float
    metrics: Mapping[str, float]

    def __str__(self) -> str:
        """Return the result as one line."""
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        loss = "" if self.loss is None else f"loss {self.loss:.4f}  "
        left = f"  {self.seconds_left / 60:.0f} min left" if self.step else ""
        return f"step {self.step}/{self.steps}  {loss}{metrics}{left}"


class Trainer:
    """A training loop over batches that can stop and resume at any checkpoint.

    On a CPU a resumed training gives the same weights, bit for bit. CUDA sums in varying order.
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
        report: Callable[[Progress], None],
    ) -> None:
        """Prepare a training.

        Args:
            model: the network to train.
            schedule: length and learning rate.
            folder: where checkpoints are written.
            settings: everything that decides the weights; a resume requires the same settings.
            batches: yields the batches from an optimizer step on; depends only on the seed.
            loss: returns a scalar with gradient, and the parts to report.
            evaluate: returns metrics; the one named "score" rises as the model gets better.
            report: receives the result of each evaluation.
        """
        self.model, self.schedule, self.folder = model, schedule, folder
        self.settings = dict(settings)
        self.batches, self.loss, self.evaluate, self.report = batches, loss, evaluate, report
        self.optimizers = Optimizers.for_model(model, schedule.rate, schedule.decay)
        self.state = State()
        self.best: dict[str, torch.Tensor] | None = None
        self._last_report = (0.0, 0.0)  # progress and seconds

    def resume(self) -> bool:
        """Load the last checkpoint; return False if there is none.

        Raises BadInput if the checkpoint was made with other settings.
        """
        check_same_settings(self.folder, self.settings)
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizers.load(saved["optimizers"])
        self.state, self.best = State(**json.loads(saved["state"])), saved["best"]
        return True

    def save(self) -> None:
        """Write a checkpoint; the old one stays intact until the new one is complete."""
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
        """Train to the end, and load the best weights into the model.

        An interrupt takes effect after the current step and a checkpoint. The step may have to
        compute a part of the teacher's vectors first.

        Raises AlbeamError if loss or gradients are not finite; the last checkpoint is kept.
        """
        with defer_signals("a checkpoint is written") as interrupted:
            self._train(interrupted)
        if interrupted():
            raise KeyboardInterrupt
        if self.best is not None:
            self.model.load_state_dict(self.best)
        return self.state

    def _train(self, interrupted: Callable[[], bool]) -> None:
        state, schedule = self.state, self.schedule
        last_save = started = time.monotonic()
        before, total, count = state.seconds, 0.0, 0
        self._last_report = (schedule.progress(state.step, before), before)
        parts: dict[str, float] = {}
        for batch in self.batches(state.step):
            state.seconds = before + time.monotonic() - started
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
            total, count = total + value, count + 1
            for name, value in detail.items():
                parts[name] = parts.get(name, 0.0) + value
            if state.step % schedule.evaluate_every == 0:
                means = {name: value / count for name, value in parts.items()}
                self.validate(total / count, means)
                total, count, parts = 0.0, 0, {}
            state.seconds = before + time.monotonic() - started
            if interrupted():
                break
            if time.monotonic() - last_save > self.CHECKPOINT_SECONDS:
                self.save()
                last_save = time.monotonic()
        self.save()
        validated = state.history[-1]["step"] if state.history else -1
        if validated < state.step and not interrupted():
            means = {name: value / count for name, value in parts.items()}
            self.validate(total / count if count else None, means)

    def check_finite(self, loss: float, norm: float) -> None:
        """Raise AlbeamError before a step that would damage the weights."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise AlbeamError(
                "rate",
                self.schedule.rate,
                f"step {self.state.step + 1} has the loss {loss:.4g} and gradients of norm "
                f"{norm:.4g}",
                f"train with a lower rate; the last checkpoint in {self.folder} is intact",
            )

    def validate(self, loss: float | None, parts: Mapping[str, float]) -> None:
        """Evaluate the model, keep its weights if they are the best so far, and report."""
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
        # The pace since the last report: a first pass waits for the teacher, and a resume may run
        # on another machine.
        done, (before, then) = self.schedule.progress(state.step, state.seconds), self._last_report
        left = (state.seconds - then) * (1 - done) / max(done - before, 1e-9)
        self._last_report = (done, state.seconds)
        self.report(Progress(state.step, self.schedule.steps, loss, left, {**metrics, **parts}))


def check_same_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise BadInput, naming the first difference, if a checkpoint has other settings."""
    path = folder / CHECKPOINT
    if not path.exists():
        return
    was = json.loads(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["settings"])
    for name, value in json.loads(json.dumps(dict(settings))).items():
        if was.get(name) != value:
            raise BadInput(
                "checkpoint",
                str(path),
                f"was made with {name} {was.get(name)}, not {value}",
                "resume with the same settings, or train anew without --resume",
            )
