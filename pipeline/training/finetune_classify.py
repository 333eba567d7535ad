"""``albeam finetune classify``: train a whole network to classify texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np

from pipeline.training.result import TrainingResult
from pipeline.training.task_options import ClassifyOptions
from pipeline.training.task_training import (
    Card,
    check_files,
    file_names,
    prepare,
    split_rows,
    train,
    window_tokens,
    write,
)
from pipeline.training.timed_log import timed_log
from transforms.tasks.data.augmentation import augment, near_words
from transforms.tasks.data.labels import Classes, learn_classes, read_labelled
from transforms.tasks.networks.batches import EpochBatches, validation_batches
from transforms.tasks.networks.classification import ClassifierObjective, class_weights
from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer
from transforms.tasks.networks.windows import Windows, cut_windows
from transforms.tasks.training_options import HEAD
from transforms.training.inputs import check_output
from transforms.training.student import resolve_training_placement

_USAGE = """\
from transformers import pipeline

classify = pipeline("text-classification", "{folder}")
classify("a text")"""


def finetune_classify(
    options: ClassifyOptions, log: Callable[[str], object] = print
) -> TrainingResult:
    """Train a classifier, and write it.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, rows, labels, folders or the checkpoint to resume don't fit. Raised before
            the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell = timed_log(log)
    check_output(options.output, options.work, HEAD)
    max_tokens = window_tokens(options)
    check_files(options)
    read = partial(
        read_labelled,
        text=options.text_column,
        label=options.label_column,
        several=options.multi_label,
    )
    rows = read(options.data, "data")
    classes = learn_classes(rows)
    codes = classes.codes(rows)
    texts = rows.texts(options.text_column)
    if options.validation:
        others = read(options.validation, "validation")
        known, asked = classes.codes(others), others.texts(options.text_column)
    else:
        groups = np.zeros(len(codes), np.int64) if classes.several else codes
        kept, held_out = split_rows(groups, options.held_out, options.seed)
        known, asked = codes[held_out], [texts[row] for row in held_out]
        codes, texts = codes[kept], [texts[row] for row in kept]
    placement = resolve_training_placement(options.device, options.precision)
    settings = prepare(options, asdict(placement))
    network = HeadNetwork(
        options.model,
        "classify",
        classes,
        placement,
        dropout=options.dropout,
        seed=options.seed,
    )
    fast, tokenizer = load_tokenizer(options.model)
    first = cut_windows(tokenizer, texts, max_tokens)
    tell(f"{len(texts)} texts of {len(classes.names)} classes to train on, {len(asked)} held out")
    if len(first) > len(texts):
        tell(f"{len(first)} windows: longer texts than {max_tokens} tokens are cut")

    def windows(number: int) -> Windows:
        if not options.augment:
            return first
        changed = augment(texts, options.augment, (options.seed, number), near)
        return cut_windows(tokenizer, changed, max_tokens)

    near = {}
    if "synonym" in options.augment:
        vectors = network.model.get_input_embeddings().weight.detach().cpu().numpy()
        near = near_words(texts, fast.get_vocab(), vectors)
    data = EpochBatches(windows, options.batch_tokens, options.seed)
    weights = None
    if options.class_weights == "balanced":
        weights = class_weights(codes, len(classes.names))
    objective = ClassifierObjective(network, codes, weights)
    validation = validation_batches(cut_windows(tokenizer, asked, max_tokens), options.batch_tokens)
    state = train(
        options,
        network,
        settings,
        tell,
        steps=len(data.epoch(0)),
        batches=data.batches,
        loss=objective.loss,
        evaluate=lambda: objective.evaluate(validation, known),
    )
    result = write(
        options,
        "classify",
        network,
        fast,
        {"max_tokens": max_tokens, "overlap": 0},
        state,
        _card(options, classes, len(texts), len(asked)),
    )
    tell(str(result))
    return result


def _card(options: ClassifyOptions, classes: Classes, trained: int, asked: int) -> Card:
    kind = "any number of classes" if options.multi_label else "one class"
    return Card(
        f"It gives a text {kind}. `albeam finetune classify` trained it. It reads a text longer "
        "than its limit in windows, and the mean of their scores decides.",
        _USAGE.format(folder=options.output.name),
        {
            "files": file_names(options.data),
            "texts": trained,
            "classes": ", ".join(classes.names),
            "validation texts": asked,
        },
    )
