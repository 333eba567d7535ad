"""``albeam finetune rerank``: train a network to order the passages that a search found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from pipeline.training.near_words import find_near_words
from pipeline.training.reports import shown_settings, write_records
from pipeline.training.rerank_options import RerankOptions
from pipeline.training.result import TrainingResult
from pipeline.training.store_mining import StoreSearch
from pipeline.training.task_training import train, usable_tokens
from pipeline.training.timed_log import timed_log
from pipeline.training.work_folder import fingerprint, model_fingerprints, prepare_work_folder
from transforms.errors import BadInput
from transforms.models.resolve import usable_positions
from transforms.tasks.data.augmentation import augment
from transforms.tasks.data.candidates import (
    Candidates,
    Group,
    Int64,
    Mined,
    draw_groups,
    label_candidates,
    rank_by_words,
    split_questions,
)
from transforms.tasks.data.labels import Classes
from transforms.tasks.networks.cards import model_card
from transforms.tasks.networks.head_network import HeadNetwork, load_tokenizer
from transforms.tasks.networks.pair_tokens import frame_pairs
from transforms.tasks.networks.reranking import (
    GroupBatches,
    PairScorer,
    RerankerObjective,
    TokenCache,
    flat,
)
from transforms.tasks.networks.saving import write_network
from transforms.tasks.training_options import HEAD
from transforms.training.checkpoints import State
from transforms.training.inputs import check_output
from transforms.training.pairs import HELD_OUT, Pairs, draw_held_out, read_pairs
from transforms.training.student import resolve_training_placement

_USAGE = """\
from sentence_transformers import CrossEncoder

model = CrossEncoder("{folder}")
model.predict([("a question", "a passage"), ("a question", "another passage")])"""
_ABOUT = (
    "A reranker: it reads a question and a passage together, and scores how well the passage "
    "answers. `albeam finetune rerank` trained it. `albeam search STORE QUESTION --rerank 30 "
    "--reranker {folder}` orders the best 30 documents by it."
)


def finetune_rerank(options: RerankOptions, log: Callable[[str], object] = print) -> TrainingResult:
    """Train a reranker, and write it.

    Args:
        options: the options of the command.
        log: receives progress, line by line.

    Raises:
        BadInput: model, pairs, store, folders or the checkpoint to resume don't fit. Raised before
            the training starts.
        AlbeamError: the loss is no longer finite.
    """
    tell = timed_log(log)
    check_output(options.output, options.work, HEAD)
    wanted = {"max_tokens": options.max_tokens, "passage_tokens": options.passage_tokens}
    max_tokens = usable_tokens(options.model, wanted)
    corpora = [read_pairs(*pair) for pair in options.pairs]
    fast, _ = load_tokenizer(options.model)
    frame_pairs(fast, str(options.model))
    store = None
    if options.store is not None:
        given = options.store, options.mode, options.device, options.candidates
        store = StoreSearch(*given, tell)
    placement = resolve_training_placement(options.device, options.precision)
    settings: dict[str, Any] = {
        "model": model_fingerprints(options.model),
        "pairs": [[fingerprint(path) for path in pair] for pair in options.pairs],
        "store": None if store is None else store.settings(),
        **options.settings(),
        **asdict(placement),
    }
    prepare_work_folder(options.work, settings, options.resume)
    network = HeadNetwork(
        options.model,
        "rerank",
        Classes(("relevant",)),
        placement,
        dropout=options.dropout,
        seed=options.seed,
    )
    network.model.config.problem_type = None
    tokens = TokenCache(fast, usable_positions(network.config))
    words = _WordSearch(tokens, len(fast), options.candidates)
    rows, asked = _candidates(options, corpora, store, words)
    tell(
        f"{len(rows)} questions to train on, {len(asked)} held out; "
        f"{sum(map(len, rows.negatives)) / len(rows):.1f} negatives found for a question"
    )
    scorer = partial(
        PairScorer, network, fast, max_tokens=max_tokens, batch_tokens=options.batch_tokens
    )
    reading = partial(scorer, passage_tokens=options.passage_tokens or max_tokens)
    asking = scorer(tokens.ids(asked.questions), tokens.ids(asked.texts), passage_tokens=max_tokens)
    plain = reading(tokens.ids(rows.questions), tokens.ids(rows.texts))
    near = find_near_words(options, network.model, fast, [*rows.questions, *rows.texts])

    def of_pass(number: int, groups: list[Group]) -> PairScorer:
        if not options.augment:
            return plain
        used = np.unique(flat(groups)[1])
        texts = [*rows.questions, *(rows.texts[text] for text in used)]
        seed = options.seed, 3, number
        changed = tokens.once(augment(texts, options.augment, seed, near))
        passages = tokens.ids(rows.texts)
        for text, ids in zip(used, changed[len(rows) :], strict=True):
            passages[text] = ids
        return reading(changed[: len(rows)], passages)

    objective = RerankerObjective(asking, asked)
    data = GroupBatches(
        lambda number: draw_groups(rows, options.per_question, options.hard, options.seed, number),
        of_pass,
        options.batch_tokens,
    )
    state = train(
        options,
        network,
        settings,
        tell,
        steps=len(data.epoch(0)),
        batches=data.batches,
        loss=objective.loss,
        evaluate=objective.evaluate,
    )
    result = TrainingResult.from_state(options.output, state)
    _write(options, network, fast, max_tokens, state, result, (len(rows), len(asked)))
    before, after = result.metrics["mined_mrr@10"], result.metrics["mrr@10"]
    tell(f"MRR@10 of the {len(asked)} held-out questions: {after:.4f}; as found: {before:.4f}")
    tell(str(result))
    return result


def _candidates(
    options: RerankOptions,
    corpora: Sequence[Pairs],
    store: StoreSearch | None,
    words: _WordSearch,
) -> tuple[Candidates, Candidates]:
    """Search for all questions; return those to train on and those of the validation."""
    drawn = [draw_held_out(pairs, *HELD_OUT, options.seed) for pairs in corpora]
    most = max(1, options.held_out // len(corpora))
    chosen = [
        split_questions(pairs, held_out, options.questions, most)
        for pairs, held_out in zip(corpora, drawn, strict=True)
    ]
    train, asked = [], []
    for pairs, (own, others) in zip(corpora, chosen, strict=True):
        hard = store.find if store is not None and options.source == "store" else words.find
        train.append((pairs, own, hard(pairs, own)))
        asked.append((pairs, others, (words if store is None else store).find(pairs, others)))
    found = label_candidates(train, drawn), label_candidates(asked, [set() for _ in corpora])
    for some, what in zip(found, ("train on", "hold out"), strict=True):
        if not len(some):
            raise BadInput(
                "pairs",
                str(options.pairs[0][0]),
                f"leaves no question to {what} that some passage does not answer",
                "Give more pairs",
            )
    if options.source != "none" and not any(found[0].negatives):
        problem = "finds no passage for any question, but those that answer it"
        raise BadInput("negatives", options.source, problem, "Give --negatives none")
    return found


@dataclass(frozen=True)
class _WordSearch:
    """Searches a corpus by BM25 over the tokens of the model.

    Attributes:
        tokens: tokenizes.
        vocabulary: the number of token ids.
        depth: passages of a question, at most.
    """

    tokens: TokenCache
    vocabulary: int
    depth: int

    def find(self, pairs: Pairs, questions: Int64) -> Mined:
        passages = self.tokens.ids(pairs.passages)
        asked = self.tokens.ids([pairs.questions[question] for question in questions])
        ranked = rank_by_words(passages, asked, self.vocabulary, self.depth)
        return Mined(pairs.passages, np.arange(len(pairs.passages)), ranked)


def _write(
    options: RerankOptions,
    network: HeadNetwork,
    fast: Any,
    max_tokens: int,
    state: State,
    result: TrainingResult,
    counts: tuple[int, int],
) -> None:
    card = model_card(
        options.output.name,
        _ABOUT.format(folder=options.output.name),
        data={
            "pairs": ", ".join(path.name for pair in options.pairs for path in pair),
            "candidates": "of the words by BM25" if options.store is None else "of a store",
            "questions": counts[0],
            "validation questions": counts[1],
        },
        settings={
            "model": options.model.name,
            "negatives": options.source,
            **shown_settings(options, state),
        },
        metrics=result.metrics,
        usage=_USAGE.format(folder=options.output.name),
        limits=(
            f"A question and a passage together are cut at {max_tokens} tokens.",
            "Its scores order the passages of one question. They are no probabilities.",
        ),
    )
    network.model.config._name_or_path = ""
    head = {
        "version": 1,
        "kind": "network",
        "task": "rerank",
        "max_tokens": max_tokens,
        "metrics": dict(result.metrics),
    }
    write_network(
        options.output,
        network.model,
        fast,
        head,
        card,
        lambda folder: write_records(folder, "finetune", state.history),
    )
