"""``albeam pretrain``: train an ALBERT on masked words and on the order of segments."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.training.options import PretrainOptions
from pipeline.training.reports import reporter, resume, shown_settings, write_records
from pipeline.training.timed_log import timed_log
from pipeline.training.work_folder import (
    fingerprint,
    prepare_work_folder,
    read_or_create,
    read_texts,
)
from transforms.errors import BadInput
from transforms.tasks.networks.cards import model_card
from transforms.training.adapters import choose_weights
from transforms.training.checkpoints import State
from transforms.training.contrastive import load_tokenizer
from transforms.training.export import read_model, write_model
from transforms.training.initialization import albert_config
from transforms.training.inputs import check_output
from transforms.training.masking import MaskingRules
from transforms.training.optimizers import Schedule
from transforms.training.pretraining import HEAD, PretrainingNetwork, PretrainingObjective
from transforms.training.pretraining_data import PretrainingData, unigram_accuracy
from transforms.training.segment_pairs import tokenize_documents
from transforms.training.student import resolve_training_placement
from transforms.training.trainer import Trainer
from transforms.training.vocabulary import albert_tokenizer, train_vocabulary

#: The standard deviation of the first weights, times the root of the network's width.
_SPREAD = 0.7
#: One order of the texts, so that the same ones are held out for every --seed.
_ORDER = 17
_USAGE = """\
from transformers import AlbertForPreTraining

model = AlbertForPreTraining.from_pretrained("{folder}")"""


@dataclass(frozen=True)
class PretrainingResult:
    """The result of a pretraining; the metrics are of the held-out texts.

    Attributes:
        output: the model's folder.
        steps: steps taken.
        best_step: the step whose weights were written.
        score: minus the loss of those weights.
        masked_accuracy: the share of masked tokens that they guess.
        perplexity: their perplexity of masked tokens.
        order_accuracy: the share of rows whose order they guess; null with `--sentence none`.
        first_accuracy: ``masked_accuracy`` of the first weights.
        unigram_accuracy: the share of masked tokens that are the most frequent piece.
        seconds: time of training, earlier runs included.
    """

    output: str
    steps: int
    best_step: int
    score: float
    masked_accuracy: float
    perplexity: float
    order_accuracy: float | None
    first_accuracy: float
    unigram_accuracy: float
    seconds: float

    @classmethod
    def from_state(cls, output: Path, state: State, unigram: float) -> PretrainingResult:
        """Build the result from a trainer's last state."""
        best = next(each for each in state.history if each["step"] == state.best_step)
        return cls(
            str(output),
            state.step,
            state.best_step,
            state.best,
            best["masked_accuracy"],
            best["perplexity"],
            best.get("order_accuracy"),
            state.history[0]["masked_accuracy"],
            unigram,
            state.seconds,
        )

    def __str__(self) -> str:
        """Return the result as one line."""
        line = (
            f"wrote {self.output}: the weights of step {self.best_step}, which guess "
            f"{self.masked_accuracy:.1%} of the masked tokens (first weights "
            f"{self.first_accuracy:.1%}, most frequent piece {self.unigram_accuracy:.1%})"
        )
        if self.order_accuracy is not None:
            line += f" and {self.order_accuracy:.1%} of the orders"
        return line


def pretrain(options: PretrainOptions, log: Callable[[str], object] = print) -> PretrainingResult:
    """Train a new network with its vocabulary, or an existing one, and write the model.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: texts, model, sizes, folders or the checkpoint to resume don't fit. Raised before
            the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell = timed_log(log)

    placement = resolve_training_placement(options.device, options.precision)
    check_output(options.output, options.work)
    texts = read_texts(options.texts, keep_lines=True)
    if len(texts) < max(20, 2 * options.held_out):
        raise BadInput(
            "texts",
            None,
            f"hold {len(texts)} different texts, too few with {options.held_out} held out",
            "Give more texts or a smaller --held-out",
        )
    corpus = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    settings = {**_settings(options, corpus), **asdict(placement)}
    prepare_work_folder(options.work, settings, options.resume)
    report = reporter(options, tell)

    if options.model is None:
        config, tokenizer = _new_model(options, texts, corpus)
    else:
        config, tokenizer = _start_model(options, options.model)
    random.Random(_ORDER).shuffle(texts)
    data = _data(options, tokenizer, texts)
    counts = data.counts()
    tell(f"{len(data.documents.tokens)} tokens of {len(texts)} texts, {len(counts)} pieces")
    held_out = data.held_out()
    if not held_out or not (steps := data.steps()):
        raise BadInput(
            "texts", None, "have no two words of one text", "Give longer texts, or --sentence none"
        )
    network = PretrainingNetwork(
        config,
        placement,
        counts=counts,
        start=options.model,
        dropout=options.dropout,
        seed=options.seed,
    )
    choose_weights(network.model, options.train, options.lora_rank, options.seed, HEAD)
    objective = PretrainingObjective(network, options.sentence)
    trainer = Trainer(
        network.model,
        Schedule.of(options, steps),
        options.work,
        settings,
        batches=data.batches,
        loss=objective.loss,
        evaluate=lambda: objective.evaluate(held_out),
        report=report,
        seed=options.seed,
    )
    if not resume(trainer, options, tell):
        trainer.validate(None, {})
    state = trainer.run()
    unigram = unigram_accuracy(held_out, counts)
    result = PretrainingResult.from_state(options.output, state, unigram)
    if options.model is not None and options.average < 1:
        network.mix(read_model(options.model)[1], options.average)
        found: dict[str, Any] = trainer.measure()
        result = replace(result, **found)

    def write_extra(folder: Path) -> None:
        write_records(folder, "pretrain", state.history)
        card = _card(options, result, state, (len(texts), int(counts.sum())))
        (folder / "README.md").write_text(card, encoding="utf-8")

    write_model(
        options.output,
        network.config,
        network.weights(),
        tokenizer,
        options.max_tokens,
        architecture="AlbertForPreTraining",
        write_extra=write_extra,
    )
    tell(str(result))
    return result


def _settings(options: PretrainOptions, corpus: str) -> dict[str, object]:
    """Return everything that decides the weights; a resume requires the same settings."""
    if options.model is None:
        start: dict[str, Any] = asdict(options.shape)
    else:
        names = ("config.json", "model.safetensors", "tokenizer.json")
        files = [options.model / name for name in names]
        start = {"model": [fingerprint(file) for file in files if file.exists()]}
    return {"texts": corpus, **start, **options.settings()}


def _card(
    options: PretrainOptions, result: PretrainingResult, state: State, counts: tuple[int, int]
) -> str:
    """Return the model card."""
    metrics = {
        "share of masked tokens that it guesses": result.masked_accuracy,
        "the same, of the most frequent piece": result.unigram_accuracy,
        "perplexity of masked tokens": result.perplexity,
    }
    if result.order_accuracy is not None:
        metrics["share of the orders of segments that it guesses"] = result.order_accuracy
    return model_card(
        options.output.name,
        "An ALBERT with the heads of pretraining: it guesses masked words and the order of "
        "segments. `albeam pretrain` trained it on texts without labels.",
        data={
            "files": ", ".join(path.name for path in options.texts),
            "different texts": counts[0],
            "of these held out": options.held_out,
            "tokens for training": counts[1],
        },
        settings={
            "start": "random weights" if options.model is None else options.model.name,
            **shown_settings(options, state),
            **({"average": options.average} if options.average < 1 else {}),
        },
        metrics=metrics,
        usage=_USAGE.format(folder=options.output.name),
        limits=("It was not taught which texts are similar: fine-tune it first.",),
    )


def _new_model(options: PretrainOptions, texts: Sequence[str], corpus: str) -> tuple[Any, Any]:
    """Train a vocabulary; return the config of a new network, and the tokenizer."""
    size = options.shape.vocab_size
    sentencepiece = read_or_create(
        options.work / f"vocabulary-{corpus}-{size}.model", lambda: train_vocabulary(texts, size)
    )
    config = albert_config(options.shape)
    # A narrow network learns sooner from wider first weights: see deploy/bench/pretraining.py.
    config.initializer_range = round(_SPREAD / math.sqrt(options.shape.hidden), 3)
    return config, albert_tokenizer(sentencepiece, options.max_tokens)


def _start_model(options: PretrainOptions, folder: Path) -> tuple[Any, Any]:
    """Return config and tokenizer of the model to start from, which must fit the options."""
    config, _ = read_model(folder)
    if options.max_tokens > config.max_position_embeddings:
        raise BadInput(
            "max_tokens",
            options.max_tokens,
            f"must not exceed the {config.max_position_embeddings} positions of the model {folder}",
            f"Give {config.max_position_embeddings} or less",
        )
    if options.sentence != "none" and config.type_vocab_size < 2:
        raise BadInput("model", str(folder), "knows no second segment", "Give --sentence none")
    tokenizer = load_tokenizer(folder, config.vocab_size)
    for name in ("cls_token", "sep_token", "mask_token"):
        if getattr(tokenizer, name) is None:
            raise BadInput(
                "model", str(folder), f"has a tokenizer without {name}", "Name another model"
            )
    return config, tokenizer


def _data(options: PretrainOptions, tokenizer: Any, texts: Sequence[str]) -> PretrainingData:
    """Tokenize the texts; the last ones are held out."""
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special, mask = tokenizer.all_special_ids, tokenizer.mask_token_id
    masking = MaskingRules.of(options.masking, pieces, special, mask)
    longest = (options.max_tokens - 3) // 2
    return PretrainingData(
        tokenize_documents(tokenizer, texts, masking.word_starts, longest),
        len(texts) - options.held_out,
        options.sentence,
        masking,
        (tokenizer.cls_token_id, tokenizer.sep_token_id),
        options.max_tokens,
        options.batch_tokens,
        options.seed,
    )
