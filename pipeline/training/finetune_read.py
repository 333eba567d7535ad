"""``albeam finetune read``: train a whole network to find the answers to questions in passages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pipeline.training.near_words import find_near_words
from pipeline.training.result import RowsResult, TrainingResult
from pipeline.training.task_options import ReadOptions
from pipeline.training.task_training import (
    Card,
    begin,
    file_names,
    hold_out_groups,
    open_network,
    tell_rejects,
    train_windows,
    write,
)
from transforms.errors import BadInput
from transforms.tasks.data.answer_augmentation import augment_answered
from transforms.tasks.data.answer_rows import AnswerRows, read_answered, read_passages
from transforms.tasks.networks.batches import validation_batches
from transforms.tasks.networks.pair_tokens import (
    AnsweredWindows,
    PairTokens,
    frame_pairs,
    tokenize_pairs,
)
from transforms.tasks.networks.reading import EDGES, ReaderObjective

_USAGE = """\
from transforms import Placement
from transforms.search.reader import Reader

reader = Reader("{folder}", Placement())
reader.spans([("a question", "a passage")])"""


def finetune_read(options: ReadOptions, log: Callable[[str], object] = print) -> RowsResult:
    """Train a reader, and write it.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, rows, answers, folders or the checkpoint to resume don't fit. Raised before
            the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell, max_tokens = begin(options, log)
    drawn = min(max_tokens, options.window_tokens or max_tokens)
    rows, asked = _read(options, tell)
    opened = open_network(options, "read", EDGES)
    fast, tokenizer = opened.fast, opened.tokenizer
    frame_pairs(fast, str(options.model))

    def tokens(some: AnswerRows) -> PairTokens:
        return tokenize_pairs(fast, tokenizer, some.questions, some.passages, some.places)

    def windows(number: int) -> AnsweredWindows:
        if not options.augment:
            return pairs.draw(drawn, targets, [options.seed, 2, number])
        changed = augment_answered(rows, options.augment, (options.seed, number), near)
        own = tokens(changed)
        return own.draw(drawn, own.targets(changed.spans), [options.seed, 2, number])

    texts = [*rows.questions, *rows.passages]
    near = find_near_words(options, opened.network.model, fast, texts)
    pairs, others = tokens(rows), tokens(asked)
    targets = pairs.targets(rows.spans)
    validation = validation_batches(others.cover(max_tokens), options.batch_tokens)
    tell(f"{len(rows)} questions to train on, {len(asked)} held out")
    objective = ReaderObjective(opened.network)
    state = train_windows(
        options,
        opened,
        tell,
        windows,
        objective.loss,
        lambda: objective.evaluate(
            validation, others, asked.passages, asked.answers, options.no_answer
        ),
    )
    threshold = TrainingResult.from_state(options.output, state).metrics.get("threshold", 0.0)
    head = {"max_tokens": max_tokens, "threshold": threshold}
    result = write(options, opened, head, state, _card(options, rows, asked))
    tell(str(result))
    return RowsResult(**vars(result), rejected=rows.rejected)


def _read(options: ReadOptions, tell: Callable[[str], object]) -> tuple[AnswerRows, AnswerRows]:
    """Return the rows to train on and those of the validation, which share no passage."""
    read = partial(
        read_answered,
        passages=read_passages(options.passages) if options.passages else None,
        question=options.question_column,
        context=options.context_column,
        answers=options.answers_column,
        no_answer=options.no_answer,
    )
    rows = read(options.data, "data")
    tell_rejects(rows.option, rows.rejected, tell)
    if not any(rows.answers):
        raise BadInput("data", rows.source, "has no answers", "Add questions with answers")
    if options.validation:
        asked = read(options.validation, "validation")
        tell_rejects(asked.option, asked.rejected, tell)
        return rows, asked
    kept, held_out = hold_out_groups(rows.places, options.held_out, options.seed)
    if not len(kept):
        problem = "has one passage only, so that none can be held out"
        raise BadInput("data", rows.source, problem, "Add passages, or give --validation")
    return rows.take(kept), rows.take(held_out)


def _card(options: ReadOptions, rows: AnswerRows, asked: AnswerRows) -> Card:
    none = "It may find that there is none. " if options.no_answer else ""
    return Card(
        "It finds the answer to a question in a passage. `albeam finetune read` trained it. "
        f"{none}A passage longer than its limit is read in windows that overlap.",
        _USAGE.format(folder=options.output.name),
        {
            "files": file_names((*options.data, *options.passages)),
            "questions": len(rows),
            "questions without an answer": int(np.sum([not each for each in rows.answers])),
            "passages": len(rows.passages),
            "validation questions": len(asked),
            "rows left out": sum(rows.rejected.values()),
        },
    )
