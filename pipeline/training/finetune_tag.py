"""``albeam finetune tag``: train a whole network to find entities in texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pipeline.training.near_words import find_near_words
from pipeline.training.result import RowsResult
from pipeline.training.task_options import TagOptions
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
from transforms.errors import BadInput
from transforms.tasks.data.tag_augmentation import augment_tagged
from transforms.tasks.data.tag_rows import TagRows, learn_tags, read_tagged
from transforms.tasks.networks.batches import validation_batches
from transforms.tasks.networks.classification import class_weights
from transforms.tasks.networks.tagging import (
    TaggedWindows,
    TaggerObjective,
    label_windows,
    place_words,
)
from transforms.tasks.networks.windows import Int64, cut_windows

#: The share of a window that it has in common with the next one.
_OVERLAP = 0.25
_USAGE = """\
from transformers import pipeline

tag = pipeline("token-classification", "{folder}", aggregation_strategy="first")
tag("a text")"""


def finetune_tag(options: TagOptions, log: Callable[[str], object] = print) -> RowsResult:
    """Train a tagger, and write it.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, rows, tags, folders or the checkpoint to resume don't fit. Raised before
            the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell, max_tokens = begin(options, log)
    read = partial(
        read_tagged,
        tokens=options.tokens_column,
        tags=options.tags_column,
        text=options.text_column,
        spans=options.spans_column,
    )
    rows = read(options.data, "data")
    if rows.repaired:
        tell(f"{rows.repaired} tags I- that continue no entity are read as B-")
    rejected = {"white space alone": rows.lost} if rows.lost else {}
    tell_rejects("data", rejected, tell, "entities")
    # Before rows are held out: all rows of a rare type may be among these.
    classes = learn_tags(rows)
    if options.validation:
        asked = read(options.validation, "validation")
    else:
        groups = np.zeros(len(rows), np.int64)
        kept, held_out = split_rows(groups, options.held_out, options.seed)
        if not len(held_out):
            problem = "has one row only, so that none can be held out"
            raise BadInput("data", rows.source, problem, "Add rows, or give --validation")
        rows, asked = rows.take(kept), rows.take(held_out)
    codes = rows.codes(classes)
    asked.codes(classes)
    opened = open_network(options, "tag", classes)
    overlap = int(_OVERLAP * max_tokens)

    def cut(some: TagRows, tagged: Sequence[Int64]) -> TaggedWindows:
        windows = cut_windows(opened.tokenizer, some.texts, max_tokens, overlap, offsets=True)
        return label_windows(windows, some.words, tagged)

    def windows(number: int) -> TaggedWindows:
        if not options.augment:
            return first
        changed = augment_tagged(rows, options.augment, (options.seed, number), near)
        return cut(changed, changed.codes(classes))

    first = cut(rows, codes)
    near = find_near_words(options, opened.network.model, opened.fast, rows.texts)
    others = cut_windows(opened.tokenizer, asked.texts, max_tokens, overlap, offsets=True)
    tell(f"{len(rows)} texts in {len(first)} windows to train on, {len(asked)} texts held out")
    weights = None
    if options.class_weights == "balanced":
        weights = class_weights(np.concatenate(codes), len(classes.names))
    objective = TaggerObjective(opened.network, weights)
    places = place_words(others, asked.words)
    validation = validation_batches(others, options.batch_tokens)
    state = train_windows(
        options,
        opened,
        tell,
        windows,
        objective.loss,
        lambda: objective.evaluate(validation, places, asked.tags),
    )
    card = Card(
        "It finds entities in a text: their types and places. `albeam finetune tag` trained it. A "
        "word has the tag of its first token. A text longer than its limit is read in windows.",
        _USAGE.format(folder=options.output.name),
        {
            "files": file_names(options.data),
            "texts": len(rows),
            "classes": ", ".join(classes.names),
            "validation texts": len(asked),
        },
    )
    head = {"max_tokens": max_tokens, "overlap": overlap}
    result = write(options, opened, head, state, card)
    tell(str(result))
    return RowsResult(**vars(result), rejected=rejected)
