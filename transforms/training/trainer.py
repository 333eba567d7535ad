"""The training loop: steps, evaluations, checkpoints and resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from transforms.errors import AlbeamError
from transforms.runtime.signals import defer_signals
from transforms.training.adapters import merge_adapters
from transforms.training.checkpoints import (
    State,
    check_same_settings,
    random_state,
    read_checkpoint,
    restore_random_state,
    write_checkpoint,
)
from transforms.training.optimizers import Optimizers, Schedule


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
        seed: int = 0,
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
            seed: the seed of dropout.
        """
        self.model, self.schedule, self.folder = model, schedule, folder
        self.settings = dict(settings)
        self.batches, self.loss, self.evaluate, self.report = batches, loss, evaluate, report
        self.optimizers = Optimizers.for_model(
            model, schedule.rate, schedule.decay, schedule.optimizer
        )
        self.state = State()
        self.seed = seed
        self._random: list[torch.Tensor] | None = None
        self.best: dict[str, torch.Tensor] | None = None
        self._last_report = (0.0, 0.0)  # progress and seconds

    def resume(self) -> bool:
        """Load the last checkpoint; return False if there is none.

        Raises BadInput if the checkpoint was made with other settings.
        """
        check_same_settings(self.folder, self.settings)
        saved = read_checkpoint(self.folder)
        if saved is None:
            return False
        self.model.load_state_dict(saved["model"])
        self.optimizers.load(saved["optimizers"])
        self.state, self.best = saved["state"], saved["best"]
        self._random = saved["random"]
        return True

    def save(self) -> None:
        """Write a checkpoint; the old one stays intact until the new one is complete."""
        tensors = {
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state(),
            "best": self.best,
            "random": random_state(),
        }
        write_checkpoint(self.folder, self.settings, self.state, tensors)

    def run(self) -> State:
        """Train to the end, load the best weights into the model, and merge adapters into them.

        An interrupt takes effect after the current step and a checkpoint. The step may have to
        compute a part of the teacher's vectors first.

        Raises AlbeamError if loss or gradients are not finite; the last checkpoint is kept.
        """
        devices = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        with (
            defer_signals("a checkpoint is written") as interrupted,
            torch.random.fork_rng(devices),
        ):
            self._train(interrupted)
        if interrupted():
            raise KeyboardInterrupt
        if self.best is not None:
            self.model.load_state_dict(self.best)
        merge_adapters(self.model)
        return self.state

    def _train(self, interrupted: Callable[[], bool]) -> None:
        state, schedule = self.state, self.schedule
        last_save = started = time.monotonic()
        before, total, count = state.seconds, 0.0, 0
        self._last_report = (schedule.progress(state.step, before), before)
        parts: dict[str, float] = {}
        if self._random is None:
            torch.manual_seed(self.seed)
        else:
            restore_random_state(self._random)
        for batch in self.batches(state.step):
            state.seconds = before + time.monotonic() - started
            progress = schedule.progress(state.step, state.seconds)
            tired = state.stale >= max(1, schedule.patience)
            if progress >= 1 or tired or interrupted():
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
                f"Train with a lower rate; the last checkpoint in {self.folder} is intact",
            )

    def measure(self) -> dict[str, float]:
        """Return the metrics of the model as it is."""
        self.model.eval()
        with torch.inference_mode():
            metrics = self.evaluate()
        self.model.train()
        return metrics

    def validate(self, loss: float | None, parts: Mapping[str, float]) -> None:
        """Evaluate the model, keep its weights if they are the best so far, and report."""
        metrics, state = self.measure(), self.state
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
