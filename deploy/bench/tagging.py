"""Train a tagger with albeam and with transformers' Trainer: entity F1, and their difference.

`python -m deploy.bench.tagging --data FOLDER` takes the same weights, rows, tokens a batch, rate,
schedule, optimizer (AdamW) and steps for both, for each of ``--corpora``, and measures the entities
of the same test rows in the same way, with 95 % intervals by bootstrap over the rows. Tokens a
second are those of `tasks_training`. The exit code is 1 if a target is missed; ``--json FILE``
writes the figures. The Trainer needs the package accelerate.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from deploy.bench.targets import Target, finish
from deploy.bench.tasks_training import dropouts, rows_of_step, run_trainer, train_albeam
from pipeline.training.finetune_tag import finetune_tag
from pipeline.training.task_options import TagOptions
from pipeline.training.task_training import window_tokens
from transforms.encoder.network import without_logs
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder
from transforms.tasks.data.bio import entities
from transforms.tasks.data.tag_rows import TagRows, learn_tags, read_tagged
from transforms.tasks.metrics.entity_metrics import entity_metrics
from transforms.tasks.networks.batches import validation_batches
from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer
from transforms.tasks.networks.tagging import place_words, word_classes
from transforms.tasks.networks.windows import cut_windows

#: The most that the entity F1 may be below that of transformers' Trainer.
MOST_LOSS = 0.01
CORPORA = ("wikigold", "ncbi_disease")
#: The label of a token that has no loss.
_IGNORED = -100


def train_transformers(options: TagOptions, rows: int) -> dict[str, float]:
    """Train with transformers' Trainer, so many rows a step; write the model to the output."""
    import transformers

    known = read_tagged(options.data, "data")
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    data = labelled_tokens(known, tokenizer, window_tokens(options))
    torch.manual_seed(options.seed)
    with without_logs():
        model = transformers.AutoModelForTokenClassification.from_pretrained(
            options.model,
            num_labels=len(learn_tags(known).names),
            dtype=torch.float32,
            **dropouts(options),
        )
    collator = transformers.DataCollatorForTokenClassification(tokenizer)
    return run_trainer(options, rows, model, tokenizer, data, collator)


def labelled_tokens(rows: TagRows, tokenizer: Any, most: int) -> list[dict[str, list[int]]]:
    """Return the tokens of texts, cut, as transformers' examples do; first pieces have a label.

    Args:
        rows: words that came alone, with tags.
        tokenizer: a fast tokenizer of transformers.
        most: tokens of a text.
    """
    names = learn_tags(rows).names
    words = [
        [text[start:end] for start, end in spans]
        for text, spans in zip(rows.texts, rows.words, strict=True)
    ]
    framed = tokenizer(words, is_split_into_words=True, truncation=True, max_length=most)
    data = []
    for row, tags in enumerate(rows.tags):
        places = framed.word_ids(row)
        labels = [
            names.index(tags[place]) if place is not None and place != before else _IGNORED
            for place, before in zip(places, [None, *places], strict=False)
        ]
        data.append({"input_ids": framed["input_ids"][row], "labels": labels})
    return data


def measure(folder: Path, train: Path, test: TagRows, most: int) -> dict[str, Any]:
    """Return the F1 of the entities that a trained network finds in test rows, with its interval.

    Args:
        folder: the network.
        train: the rows that it was trained on, which decide the order of its classes.
        test: the test rows.
        most: tokens of a window.
    """
    classes = learn_tags(read_tagged([train], "data"))
    network = HeadNetwork(folder, "tag", classes, Placement("cpu", "float32"))
    network.model.eval()
    _, tokenizer = load_tokenizer(folder)
    windows = cut_windows(tokenizer, test.texts, most, most // 4, offsets=True)
    with torch.inference_mode():
        batches = validation_batches(windows, 4096)
        codes, _ = word_classes(network, batches, place_words(windows, test.words))
    found, first = [], 0
    for tags in test.tags:
        found.append(entities([classes.names[c] for c in codes[first : first + len(tags)]]))
        first += len(tags)
    metrics = entity_metrics([entities(tags) for tags in test.tags], found)
    return {"f1": metrics.values["micro_f1"], "interval": metrics.intervals["micro_f1"]}


def compare(folder: Path, model: Path, given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Train and measure both systems on a corpus."""
    train, test = folder / "train.parquet", read_tagged([folder / "test.parquet"], "data")
    found: dict[str, Any] = {}
    rows = 0
    for system in ("albeam", "transformers"):
        options = TagOptions(
            model=model,
            data=(train,),
            validation=(folder / "dev.parquet",),
            output=work / f"{folder.name}.{system}",
            work=work / f"{folder.name}.{system}.work",
            steps=given.steps,
            optimizer="adamw",
            rate=given.rate,
            batch_tokens=given.batch_tokens,
            evaluate_every=given.steps,
        )
        most = window_tokens(options)
        if system == "albeam":
            row = train_albeam(finetune_tag, options)
            rows = rows_of_step(row, model, read_tagged([train], "data").texts, most)
        else:
            row = train_transformers(options, rows)
        found[system] = {**row, **measure(options.output, train, test, most)}
        print(f"{folder.name}, {system}: {found[system]}", flush=True)
    difference = found["albeam"]["f1"] - found["transformers"]["f1"]
    print(f"{folder.name}: albeam's entity F1 less that of transformers: {difference:+.4f}")
    return {**found, "difference": difference}


def main() -> int:
    """Run the comparisons, and print them; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ALBEAM_DATA") or "../shared/data")
    )
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help="folders, with tags")
    parser.add_argument("--model", default="albeam-small")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-tokens", type=int, default=TagOptions.batch_tokens)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = Path(find_folder(ModelOptions(given.model))[0])
    found: dict[str, Any] = {"steps": given.steps, "rate": given.rate, "corpora": {}}
    with tempfile.TemporaryDirectory() as work:
        for corpus in given.corpora:
            found["corpora"][corpus] = compare(given.data / corpus, model, given, Path(work))
    targets = [
        Target(f"{name}: entity F1 less that of transformers", -MOST_LOSS, each["difference"])
        for name, each in found["corpora"].items()
    ]
    return finish(found, targets, given.json)


if __name__ == "__main__":
    raise SystemExit(main())
