"""Train a classifier with albeam and with transformers' Trainer: accuracy, and tokens a second.

`python -m deploy.bench.tasks_training --data FOLDER` takes the same weights, rows, tokens a batch
and settings for both, by turns, and classifies the same test rows. Tokens are those of the texts,
without padding. Seconds are of processor time, since other processes may keep the processor busy,
and leave out the evaluations. The exit code is 1 if a target is missed; ``--json FILE`` writes the
figures. The Trainer needs the package accelerate.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from deploy.bench.targets import Target, finish
from pipeline.training.finetune_classify import finetune_classify
from pipeline.training.task_options import ClassifyOptions, TaskOptions
from pipeline.training.task_training import window_tokens
from transforms.encoder.network import without_logs
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder
from transforms.tasks.data.labels import Classes
from transforms.tasks.networks.batches import validation_batches
from transforms.tasks.networks.classification import text_scores
from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer
from transforms.tasks.networks.windows import cut_windows
from transforms.training.student import resolve_training_placement
from transforms.training.trainer import Trainer

#: The least ratio of the tokens a second, and the most that the accuracy may be below.
LEAST_TIMES = 1.3
MOST_LOSS = 0.01


class Clock:
    """Counts the processor time and the tokens of training steps."""

    def __init__(self) -> None:
        self.seconds, self.tokens, self.steps = 0.0, 0, 0

    def rate(self) -> float:
        """Return the tokens a second."""
        return self.tokens / self.seconds


def train_albeam(train: Callable[[Any, Any], object], options: TaskOptions) -> dict[str, float]:
    """Train with albeam's function for a task, and return its tokens a second and its steps."""
    clock = Clock()
    validate, logits = Trainer.validate, HeadNetwork.logits

    def timed(self: Trainer, *given: Any) -> None:
        before = time.process_time()
        validate(self, *given)
        clock.seconds -= time.process_time() - before

    def counted(self: HeadNetwork, batch: Any) -> torch.Tensor:
        if self.model.training:
            clock.tokens += int(batch.windows.lengths[batch.rows].sum())
        return logits(self, batch)

    run = Trainer.run

    def whole(self: Trainer) -> Any:
        before = time.process_time()
        found = run(self)
        clock.seconds += time.process_time() - before
        clock.steps = found.step
        return found

    patched: list[tuple[Any, str, Callable[..., Any], Any]] = [
        (Trainer, "validate", timed, validate),
        (Trainer, "run", whole, run),
        (HeadNetwork, "logits", counted, logits),
    ]
    for owner, name, new, _ in patched:
        setattr(owner, name, new)
    try:
        train(options, lambda line: print(f"  {line}", flush=True))
    finally:
        for owner, name, _, old in patched:
            setattr(owner, name, old)
    return {"tokens_per_second": clock.rate(), "steps": clock.steps, "tokens": clock.tokens}


def train_transformers(options: ClassifyOptions, rows: int) -> dict[str, float]:
    """Train with transformers' Trainer, so many rows a step; write the model to the output."""
    import transformers

    names = sorted(set(_column(options.data[0], "label")))
    texts = _column(options.data[0], "text")
    labels = [names.index(label) for label in _column(options.data[0], "label")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    ids = tokenizer(texts, truncation=True, max_length=window_tokens(options))["input_ids"]
    data = [{"input_ids": row, "label": label} for row, label in zip(ids, labels, strict=True)]
    torch.manual_seed(options.seed)
    with without_logs():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            options.model,
            num_labels=len(names),
            dtype=torch.float32,
            **dropouts(options),
        )
    collator = transformers.DataCollatorWithPadding(tokenizer)
    return run_trainer(options, rows, model, tokenizer, data, collator)


def dropouts(options: TaskOptions) -> dict[str, float]:
    """Return the names of a model's dropouts in its config, with their shares."""
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
    return dict.fromkeys(names, options.dropout)


def run_trainer(
    options: TaskOptions, rows: int, model: Any, tokenizer: Any, data: Any, collator: Any
) -> dict[str, float]:
    """Train a model with the Trainer, as `train_albeam` does; write it to the output.

    Args:
        options: the options of albeam's training.
        rows: rows of a step.
        model: the model with its head.
        tokenizer: its tokenizer.
        data: the tokens and labels of each row.
        collator: makes batches of these.
    """
    import transformers

    clock = Clock()
    forward = model.forward

    def counted(**given: Any) -> Any:
        clock.tokens += int(given["attention_mask"].sum())
        return forward(**given)

    model.forward = counted
    placement = resolve_training_placement(options.device, options.precision)
    settings = transformers.TrainingArguments(
        output_dir=str(options.work),
        max_steps=options.steps,
        per_device_train_batch_size=rows,
        learning_rate=options.rate,
        warmup_steps=round(options.warmup * (options.steps or 0)),
        lr_scheduler_type="cosine",
        weight_decay=options.decay,
        max_grad_norm=options.clip,
        bf16=placement.dtype == "bfloat16",
        use_cpu=placement.device == "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=100,
        seed=options.seed,
        remove_unused_columns=False,
    )
    trainer = transformers.Trainer(model, settings, train_dataset=data, data_collator=collator)
    before = time.process_time()
    trainer.train()
    clock.seconds = time.process_time() - before
    del model.forward
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    return {
        "tokens_per_second": clock.rate(),
        "steps": options.steps or 0,
        "tokens": clock.tokens,
    }


def rows_of_step(row: dict[str, float], model: Path, texts: list[str], most: int) -> int:
    """Return how many rows a step of albeam's batches has, so that both see as many tokens."""
    lengths = cut_windows(load_tokenizer(model)[1], texts, most).lengths
    return round(row["tokens"] / row["steps"] / float(lengths.mean()))


def accuracy(folder: Path, names: list[str], test: Path, max_tokens: int) -> float:
    """Return the share of the test rows that a trained network classifies rightly."""
    network = HeadNetwork(folder, "classify", Classes(tuple(names)), Placement("cpu", "float32"))
    network.model.eval()
    _, tokenizer = load_tokenizer(folder)
    windows = cut_windows(tokenizer, _column(test, "text"), max_tokens)
    with torch.inference_mode():
        scores = text_scores(network, validation_batches(windows, 4096))
    known = [names.index(label) for label in _column(test, "label")]
    return float((scores.argmax(1) == np.asarray(known)).mean())


def _column(path: Path, name: str) -> list[str]:
    return [str(each) for each in pq.read_table(path, columns=[name])[name].to_pylist()]


def main() -> int:
    """Run the comparison, and print it; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--corpus", default="rotten_tomatoes", help="its folder, with labels")
    parser.add_argument("--model", default="albeam-small")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-tokens", type=int, default=ClassifyOptions.batch_tokens)
    parser.add_argument("--rate", type=float, default=ClassifyOptions.rate)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    folder = given.data / given.corpus
    model = Path(find_folder(ModelOptions(given.model))[0])
    names = sorted(set(_column(folder / "train.parquet", "label")))
    found: dict[str, Any] = {"corpus": given.corpus, "steps": given.steps}
    with tempfile.TemporaryDirectory() as work:
        for system in ("albeam", "transformers"):
            options = ClassifyOptions(
                model=model,
                data=(folder / "train.parquet",),
                validation=(folder / "dev.parquet",),
                output=Path(work) / system,
                work=Path(work) / f"{system}.work",
                steps=given.steps,
                rate=given.rate,
                batch_tokens=given.batch_tokens,
                evaluate_every=given.steps,
            )
            most = window_tokens(options)
            if system == "albeam":
                row = train_albeam(finetune_classify, options)
                rows = rows_of_step(row, model, _column(options.data[0], "text"), most)
            else:
                row = train_transformers(options, rows)
            row["accuracy"] = accuracy(options.output, names, folder / "test.parquet", most)
            found[system] = row
            print(f"{system}: {row}", flush=True)
    ratio = found["albeam"]["tokens_per_second"] / found["transformers"]["tokens_per_second"]
    found["times_transformers"] = ratio
    print(f"albeam trains {ratio:.2f} times as many tokens a second")
    gain = found["albeam"]["accuracy"] - found["transformers"]["accuracy"]
    targets = [
        Target("tokens a second, times those of transformers' Trainer", LEAST_TIMES, ratio),
        Target("accuracy less that of transformers' Trainer", -MOST_LOSS, gain),
    ]
    return finish(found, targets, given.json)


if __name__ == "__main__":
    raise SystemExit(main())
