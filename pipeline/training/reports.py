"""What a training reports: lines, event files, and the records beside the model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.training.options import TrainingOptions
from transforms.evaluation.plots import training_curves
from transforms.training.checkpoints import State
from transforms.training.records import event_writer, write_history
from transforms.training.trainer import Progress, Trainer


def reporter(options: TrainingOptions, tell: Callable[[str], object]) -> Callable[[Progress], None]:
    """Return the function that reports each evaluation of a training.

    Raises:
        BadInput: event files are asked for, and the package tensorboard is missing.
    """
    events = event_writer(options.work / "tensorboard") if options.tensorboard else None

    def report(progress: Progress) -> None:
        tell(str(progress))
        if events is not None:
            events(progress)

    return report


def resume(trainer: Trainer, options: TrainingOptions, tell: Callable[[str], object]) -> bool:
    """Load the checkpoint if that is asked for and there is one; return whether it was loaded."""
    resumed = options.resume and trainer.resume()
    if resumed:
        tell(f"resumed at step {trainer.state.step}")
    return resumed


def write_records(folder: Path, name: str, history: Sequence[Mapping[str, float]]) -> None:
    """Write the curves of a training, as ``NAME.svg``, and its history."""
    (folder / f"{name}.svg").write_text(training_curves(history), encoding="utf-8")
    write_history(folder, history)


def shown_settings(options: TrainingOptions, state: State) -> dict[str, object]:
    """Return the settings that a model card lists, without those that decided nothing."""
    unused = set() if options.train == "lora" else {"lora_rank"}
    unused |= {"epochs"} if options.steps is not None else set()
    unused |= {"held_out"} if getattr(options, "validation", ()) else set()
    return {
        **{
            name: ", ".join(value) if isinstance(value, tuple) else value
            for name, value in options.settings().items()
            if name not in unused and value is not None and value != ()
        },
        "steps taken": state.step,
        "step of the weights": state.best_step,
    }
