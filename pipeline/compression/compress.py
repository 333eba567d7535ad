"""``albeam compress``: prune a model, let it recover, and measure the result."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.compression.measure import compare, read_corpus, savings
from pipeline.compression.model_card import compression_card
from pipeline.compression.options import CompressOptions
from pipeline.compression.recovery import Weights, check_recovery, recover
from pipeline.compression.source_files import copy_settings, read_source
from pipeline.compression.summary import CompressSummary
from pipeline.training.timed_log import timed_log
from pipeline.training.work_folder import read_texts
from transforms.compression.importance import by_norms, by_taylor
from transforms.compression.pruning import prune
from transforms.compression.refit import inner_moments, refit
from transforms.compression.sizes import Sizes, pruned_sizes
from transforms.encoder.batching import batches_by_length, pad
from transforms.errors import BadInput
from transforms.storage.output_files import write_text
from transforms.training.contrastive import load_tokenizer
from transforms.training.export import max_tokens_of, replace_folder, write_model
from transforms.training.inputs import check_output
from transforms.training.student import Student, resolve_training_placement
from transforms.training.teacher import tokenize

#: One order of the texts, so that the same ones are held out for every --seed.
_ORDER = 17
#: Texts that importance is measured on.
_SAMPLE = 512


def compress(options: CompressOptions, log: Callable[[str], object] = print) -> CompressSummary:
    """Write a smaller model, and measure it beside the original.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, texts, sizes, folders or the checkpoint to resume don't fit. Raised
            before anything is trained.
        AlbeamError: the loss is no longer finite.
    """
    tell = timed_log(log)
    placement = resolve_training_placement(options.device, options.precision)
    check_output(options.output, options.work)
    config, weights = read_source(options.model)
    before, sizes = Sizes.of(config), pruned_sizes(config, options.pruning)
    if options.recover:
        check_recovery(options)
    corpus = read_corpus(options)
    training, held_out = _read_texts(options)
    tokenizer = load_tokenizer(options.model, config.vocab_size)
    length = max_tokens_of(options.model, config)
    limit = min(options.max_tokens, length)

    importance, fitted = by_norms(config, weights), weights
    if training:
        student = Student(config, weights, placement)
        batches = _batches(tokenizer, training[:_SAMPLE], limit, options.batch_tokens)
        importance = by_taylor(student, batches, options.seed)
        fitted = refit(config, weights, sizes, importance, inner_moments(student, batches))
        del student
    smaller, start = prune(config, fitted, sizes, importance)
    tell(f"pruned {_named(before)} to {_named(sizes)}")

    pruned: Weights = start
    recovery, write_history = None, None
    if options.recover:
        texts = [*training, *held_out]
        pruned, recovery, write_history = recover(
            options, smaller, start, tokenizer, texts, limit, placement, tell
        )

    def write_extra(folder: Path) -> None:
        copy_settings(options.model, folder)
        if write_history is not None:
            write_history(folder)

    unfinished = options.output.with_name(f".{options.output.name}.{os.getpid()}.unfinished")
    try:
        write_model(unfinished, smaller, pruned, tokenizer, length, write_extra=write_extra)
        tell("measures both models")
        found = compare(options, unfinished, (config, weights), (smaller, pruned), held_out, corpus)
        cosines = found.cosines
        summary = CompressSummary(
            output=str(options.output),
            original=found.original,
            compressed=found.compressed,
            speedup=found.speeds.ratio,
            cosine=float(cosines.mean()) if len(cosines) else None,
            cosine_p1=float(np.percentile(cosines, 1)) if len(cosines) else None,
            held_out=len(held_out),
            importance="taylor" if training else "norms",
            savings=savings(config, weights, sizes, importance),
            recovery=recovery,
        )
        write_text(str(unfinished / "README.md"), compression_card(options, summary))
        replace_folder(unfinished, options.output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    tell(f"wrote {options.output}")
    return summary


def _read_texts(options: CompressOptions) -> tuple[list[str], list[str]]:
    """Return the texts to learn from, and those that are held out."""
    if not options.texts:
        return [], []
    texts = read_texts(options.texts)
    if len(texts) < 2 * options.held_out:
        raise BadInput(
            "texts",
            None,
            f"hold {len(texts)} different texts, too few with {options.held_out} held out",
            "Give more texts or a smaller --held-out",
        )
    random.Random(_ORDER).shuffle(texts)
    return texts[: -options.held_out], texts[-options.held_out :]


def _batches(tokenizer: Any, texts: list[str], limit: int, budget: int) -> list[torch.Tensor]:
    """Return token ids of texts, padded with -1, in batches of similar lengths."""
    ids, _ = tokenize(tokenizer, texts, limit)
    lengths = np.asarray([len(row) for row in ids], dtype=np.int64)
    return [pad([ids[i] for i in rows], -1) for rows in batches_by_length(lengths, budget)]


def _named(sizes: Sizes) -> str:
    return f"{sizes.layers} layers, {sizes.heads} heads, {sizes.inner} inner units"
