"""What the trainings of heads share: checks, network, batches, trainer and what they write.

A training is a sentence: `begin`, read rows, `open_network`, cut windows, `train_windows`, `write`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.training.options import TrainingOptions
from pipeline.training.reports import reporter, resume, shown_settings, write_records
from pipeline.training.result import TrainingResult
from pipeline.training.task_options import TaskOptions
from pipeline.training.timed_log import timed_log
from pipeline.training.work_folder import fingerprint, model_fingerprints, prepare_work_folder
from transforms.errors import BadInput
from transforms.models.resolve import read_config, usable_positions
from transforms.models.tokenizer import Tokenizer
from transforms.tasks.data.labels import Classes
from transforms.tasks.networks.batches import EpochBatches
from transforms.tasks.networks.cards import model_card
from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer
from transforms.tasks.networks.saving import write_network
from transforms.tasks.networks.windows import Windows
from transforms.tasks.training_options import HEAD
from transforms.training.adapters import choose_weights
from transforms.training.checkpoints import State
from transforms.training.export import max_tokens_of
from transforms.training.inputs import check_output
from transforms.training.optimizers import Schedule
from transforms.training.student import resolve_training_placement
from transforms.training.trainer import Trainer

Log = Callable[[str], object]


@dataclass(frozen=True)
class Card:
    """What the model card of a head says besides settings and metrics."""

    about: str
    usage: str
    data: Mapping[str, object]


@dataclass(frozen=True)
class Opened:
    """A network that is ready to be trained.

    Attributes:
        network: the network with its head.
        fast: its tokenizer, as transformers' and as what is saved.
        tokenizer: the same one as albeam's.
        settings: everything that decides the weights.
    """

    network: HeadNetwork
    fast: Any
    tokenizer: Tokenizer
    settings: Mapping[str, Any]


def begin(options: TaskOptions, log: Log, mark: str = HEAD) -> tuple[Log, int]:
    """Check folders and files before anything is read; return a timed log, and `window_tokens`.

    Args:
        options: the options of the command.
        log: receives progress, line by line.
        mark: a file that the folders which the command writes have.
    """
    check_output(options.output, options.work, mark)
    max_tokens = window_tokens(options)
    check_files(options)
    return timed_log(log), max_tokens


def open_network(options: TaskOptions, task: str, classes: Classes) -> Opened:
    """Prepare the work folder, and load an encoder with a head for a task and its classes."""
    placement = resolve_training_placement(options.device, options.precision)
    settings = prepare(options, asdict(placement))
    network = HeadNetwork(
        options.model, task, classes, placement, dropout=options.dropout, seed=options.seed
    )
    return Opened(network, *load_tokenizer(options.model), settings)


def window_tokens(options: TaskOptions) -> int:
    """Return the tokens of a window; raises BadInput if the model has no positions for them."""
    return usable_tokens(options.model, {"max_tokens": options.max_tokens})


def usable_tokens(model: Path, wanted: Mapping[str, int | None]) -> int:
    """Return the wanted ``max_tokens``, or those of a model's folder.

    Raises BadInput if the model has no positions for the value of an option in ``wanted``.
    """
    name = str(model)
    if not (model / "config.json").is_file():
        raise BadInput("model", name, "has no config.json", "Name the folder of a model")
    config = read_config(name, name)
    most = usable_positions(config)
    for option, value in wanted.items():
        if value is not None and value > most:
            raise BadInput(
                option,
                value,
                f"must not exceed the {most} positions of the model {name}",
                f"Give {most} or less",
            )
    return wanted["max_tokens"] or min(most, max_tokens_of(model, config))


def prepare(options: TaskOptions, placement: Mapping[str, Any]) -> dict[str, Any]:
    """Create the work folder, and return everything that decides the weights."""
    settings = {
        "model": model_fingerprints(options.model),
        **{name: [fingerprint(path) for path in paths] for name, paths in options.files().items()},
        **options.settings(),
        **placement,
    }
    settings = {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items()}
    prepare_work_folder(options.work, settings, options.resume)
    return settings


def split_rows(
    groups: npt.NDArray[Any], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows to train on, and those that are held out: at most a share of each group.

    Args:
        groups: the group of each row, such as its class.
        share: the share of the rows that is held out.
        seed: the seed of the choice.
    """
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(len(groups))
    held: list[int] = []
    for group in np.unique(groups):
        members = order[groups[order] == group]
        held += members[: int(share * len(members))].tolist()
    if not held and len(groups) > 1:
        held = [int(order[0])]
    held_out = np.asarray(sorted(held), np.int64)
    return np.setdiff1d(np.arange(len(groups)), held_out), held_out


def hold_out_groups(
    groups: npt.NDArray[Any], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows to train on, and those of a share of the groups, at least one.

    Args:
        groups: the group of each row, such as its passage; both parts share none.
        share: the share of the groups that is held out.
        seed: the seed of the choice.
    """
    names = np.random.default_rng([seed, 1]).permutation(np.unique(groups))
    held_out = np.isin(groups, names[: max(1, int(share * len(names)))])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def train_windows(
    options: TaskOptions,
    opened: Opened,
    tell: Log,
    windows: Callable[[int], Windows],
    loss: Callable[[Any], Any],
    evaluate: Callable[[], dict[str, float]],
) -> State:
    """Train on the windows of each pass to the end; return the state of the best weights."""
    data = EpochBatches(windows, options.batch_tokens, options.seed)
    return train(
        options,
        opened.network,
        opened.settings,
        tell,
        steps=len(data.epoch(0)),
        batches=data.batches,
        loss=loss,
        evaluate=evaluate,
    )


def train(
    options: TrainingOptions,
    network: HeadNetwork,
    settings: Mapping[str, Any],
    tell: Callable[[str], object],
    *,
    steps: int,
    batches: Callable[[int], Iterator[Any]],
    loss: Callable[[Any], Any],
    evaluate: Callable[[], dict[str, float]],
) -> State:
    """Train a network with its head to the end, with its best weights."""
    choose_weights(
        network.model, options.train, options.lora_rank, options.seed, network.head_names()
    )
    trainer = Trainer(
        network.model,
        Schedule.of(options, steps),
        options.work,
        settings,
        batches=batches,
        loss=loss,
        evaluate=evaluate,
        report=reporter(options, tell),
        seed=options.seed,
    )
    resume(trainer, options, tell)
    return trainer.run()


def write(
    options: TaskOptions,
    opened: Opened,
    head: Mapping[str, Any],
    state: State,
    card: Card,
) -> TrainingResult:
    """Write a trained network with its head, and return the result."""
    result = TrainingResult.from_state(options.output, state)
    network = opened.network
    classes = network.classes
    text = model_card(
        options.output.name,
        card.about,
        data=card.data,
        settings={"model": options.model.name, **shown_settings(options, state)},
        metrics=result.metrics,
        usage=card.usage,
    )
    network.model.config._name_or_path = ""
    write_network(
        options.output,
        network.model,
        opened.fast,
        {
            "version": 1,
            "kind": "network",
            "task": network.task,
            "classes": {
                "names": list(classes.names),
                "integers": classes.integers,
                "several": classes.several,
            },
            **head,
            "metrics": dict(result.metrics),
        },
        text,
        lambda folder: write_records(folder, "finetune", state.history),
    )
    return result


def tell_rejects(option: str, rejected: Mapping[str, int], tell: Log, what: str = "rows") -> None:
    """Say how many rows of an option's files, or what else of them, are left out, by reason."""
    for reason, count in rejected.items():
        tell(f"{count} {what} of --{option} are left out: {reason}")


def check_files(options: TaskOptions) -> None:
    """Raise BadInput if a file of rows does not exist, before its hash is computed."""
    for option, paths in options.files().items():
        for path in paths:
            if not path.is_file():
                raise BadInput(option, str(path), "does not exist", "Name a Parquet file")


def file_names(paths: tuple[Path, ...]) -> str:
    """Return the names of files, as the model card lists them."""
    return ", ".join(path.name for path in paths)
