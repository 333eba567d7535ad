"""``albeam finetune classify``: train a whole network to classify texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.training.near_words import find_near_words
from pipeline.training.result import RowsResult
from pipeline.training.task_options import ClassifyOptions
from pipeline.training.task_training import (
    Card,
    begin,
    file_names,
    open_network,
    split_rows,
    tell_rejects,
    train_windows,
    write,
)
from transforms.tasks.data.augmentation import augment
from transforms.tasks.data.labels import Classes, LabelledRows, learn_classes, read_labelled
from transforms.tasks.networks.batches import validation_batches
from transforms.tasks.networks.classification import ClassifierObjective, class_weights
from transforms.tasks.networks.windows import Windows, cut_windows

_USAGE = """\
from transformers import pipeline

classify = pipeline("text-classification", "{folder}")
classify("a text")"""


def finetune_classify(options: ClassifyOptions, log: Callable[[str], object] = print) -> RowsResult:
    """Train a classifier, and write it. Rows whose text is blank are left out, and counted.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, rows, labels, folders or the checkpoint to resume don't fit. Raised before
            the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell, max_tokens = begin(options, log)
    rows, rejected = _read(options, "data", tell)
    classes = learn_classes(rows)
    codes = classes.codes(rows)
    texts = rows.texts(options.text_column)
    if options.validation:
        held, _ = _read(options, "validation", tell)
        known, asked = classes.codes(held), held.texts(options.text_column)
    else:
        groups = np.zeros(len(codes), np.int64) if classes.several else codes
        kept, held_out = split_rows(groups, options.held_out, options.seed)
        known, asked = codes[held_out], [texts[row] for row in held_out]
        codes, texts = codes[kept], [texts[row] for row in kept]
    opened = open_network(options, "classify", classes)
    first = cut_windows(opened.tokenizer, texts, max_tokens)
    tell(f"{len(texts)} texts of {len(classes.names)} classes to train on, {len(asked)} held out")
    if len(first) > len(texts):
        tell(f"{len(first)} windows: longer texts than {max_tokens} tokens are cut")

    def windows(number: int) -> Windows:
        if not options.augment:
            return first
        changed = augment(texts, options.augment, (options.seed, number), near)
        return cut_windows(opened.tokenizer, changed, max_tokens)

    near = find_near_words(options, opened.network.model, opened.fast, texts)
    weights = None
    if options.class_weights == "balanced":
        weights = class_weights(codes, len(classes.names))
    objective = ClassifierObjective(opened.network, codes, weights)
    others = cut_windows(opened.tokenizer, asked, max_tokens)
    validation = validation_batches(others, options.batch_tokens)
    state = train_windows(
        options,
        opened,
        tell,
        windows,
        objective.loss,
        lambda: objective.evaluate(validation, known),
    )
    card = _card(options, classes, len(texts), len(asked))
    result = write(options, opened, {"max_tokens": max_tokens, "overlap": 0}, state, card)
    tell(str(result))
    return RowsResult(**vars(result), rejected=rejected)


def _read(
    options: ClassifyOptions, option: str, tell: Callable[[str], object]
) -> tuple[LabelledRows, dict[str, int]]:
    """Return the rows of an option's files that have a text, and how many have none."""
    rows = read_labelled(
        options.files()[option],
        option,
        text=options.text_column,
        label=options.label_column,
        several=options.multi_label,
    )
    kept = rows.without_blanks(options.text_column)
    blank = len(rows) - len(kept)
    rejected = {"blank text": blank} if blank else {}
    tell_rejects(option, rejected, tell)
    return kept, rejected


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
