"""A reader's windows, its loss, and from where on it has no answer."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.models import make_model, make_texts, make_tokenizer
from tests.support.raising import raises
from transforms.encoder.answer_spans import window_overlap
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.models.tokenizer import Tokenizer
from transforms.tasks.metrics.answer_scores import choose_threshold, score_answers
from transforms.tasks.networks.batches import WindowBatch, validation_batches
from transforms.tasks.networks.head_network import HeadNetwork
from transforms.tasks.networks.pair_tokens import (
    AnsweredWindows,
    PairTokens,
    frame_pairs,
    tokenize_pairs,
)
from transforms.tasks.networks.reading import EDGES, ReaderObjective, find_spans

QUESTIONS = [*make_texts(6, seed=3, longest=6), "river " * 90, "Über?"]
PASSAGES = [*make_texts(6, seed=4, longest=90), "stone window " * 90, " "]


def pairs() -> tuple[Any, PairTokens]:
    fast = make_tokenizer()
    frame_pairs(fast, "m")
    tokenizer = Tokenizer(fast.backend_tokenizer, 1)
    return fast, tokenize_pairs(fast, tokenizer, QUESTIONS, PASSAGES, np.arange(len(QUESTIONS)))


def test_windows_are_those_of_transformers() -> None:
    fast, tokens = pairs()
    found = tokens.cover(40)
    assert found.seconds is not None
    for row in range(len(QUESTIONS) - 2):
        wanted = fast(
            QUESTIONS[row],
            PASSAGES[row],
            truncation="only_second",
            max_length=40,
            stride=window_overlap(40, 3),
            return_overflowing_tokens=True,
        )
        own = np.flatnonzero(found.texts == row)
        assert [found.ids[window].tolist() for window in own] == wanted["input_ids"]
        types = WindowBatch(found, own).types()
        assert types is not None
        for got, kinds in zip(types.tolist(), wanted["token_type_ids"], strict=True):
            assert got[: len(kinds)] == kinds
    assert found.lengths.max() == 40
    # A question without end leaves half of the window.
    assert found.seconds[found.texts == len(QUESTIONS) - 2].max() == 22
    assert found.ids[-1].tolist()[-2:] == [3, 3]


def test_drawn_windows_have_targets_but_for_some() -> None:
    _, tokens = pairs()
    longest = 6
    last = len(tokens.passages[longest]) - 1
    targets = [[] if row != longest else [(last - 40, last - 38)] for row in range(len(QUESTIONS))]
    hits = []
    for number in range(100):
        windows = tokens.draw(40, targets, [1, number])
        again = tokens.draw(40, targets, [1, number])
        assert windows.firsts.tolist() == again.firsts.tolist()
        assert windows.texts.tolist() == list(range(len(QUESTIONS)))
        first, room = int(windows.firsts[longest]), 40 - 3 - 20
        hits.append(first <= last - 40 and last - 38 < first + room)
        assert 0 <= first <= last + 1 - room
    assert 80 <= sum(hits) < 100
    assert len({int(tokens.draw(40, targets, [1, n]).firsts[longest]) for n in range(50)}) > 5


def test_targets_are_the_tokens_of_spans() -> None:
    _, tokens = pairs()
    text = PASSAGES[0]
    words = text.split()
    begin = text.index(words[1]) if len(words) > 1 else 0
    end = begin + len(words[min(1, len(words) - 1)])
    [[(first, last)], *others] = tokens.targets([[(begin, end)], *[[] for _ in QUESTIONS[1:]]])
    offsets = tokens.offsets[0]
    assert text[offsets[first, 0] : offsets[last, 1]].strip() == text[begin:end]
    assert not any(others)
    assert tokens.targets([[] for _ in QUESTIONS[1:]] + [[(0, 1)]])[-1] == []


@pytest.fixture
def network(tmp_path: Path) -> HeadNetwork:
    placement = Placement("cpu", "float32")
    network = HeadNetwork(make_model(tmp_path / "m"), "read", EDGES, placement)
    network.model.eval()
    return network


def test_the_loss_is_that_of_any_right_start_and_end(network: HeadNetwork) -> None:
    _, tokens = pairs()
    targets: list[list[tuple[int, int]]] = [[] for _ in QUESTIONS]
    targets[6] = [(2, 4), (8, 8), (150, 151)]
    objective = ReaderObjective(network)
    plain = tokens.cover(40)
    windows = AnsweredWindows(
        **{each.name: getattr(plain, each.name) for each in fields(plain)}, targets=targets
    )
    assert windows.seconds is not None
    rows = np.flatnonzero(windows.texts >= 5)[:2]
    rows = np.append(rows, np.flatnonzero(windows.texts == 6)[:2])
    batch = WindowBatch(windows, rows)
    with torch.no_grad():
        logits = network.logits(batch).double()
        found = float(objective.loss(batch)[0])
    wanted = []
    for number, window in enumerate(rows):
        second, first = int(windows.seconds[window]), int(windows.firsts[window])
        inside = range(second, len(windows.ids[window]) - 1)
        places = [0, *inside]
        here = [
            (a - first + second, b - first + second)
            for a, b in targets[windows.texts[window]]
            if a - first + second in inside and b - first + second in inside
        ]
        for edge in (0, 1):
            right = {span[edge] for span in here} or {0}
            scores = logits[number, :, edge].exp()
            wanted.append(-float((scores[list(right)].sum() / scores[places].sum()).log()))
    assert found == pytest.approx(np.mean(wanted), rel=1e-4)


def test_a_passage_without_tokens_has_no_span(network: HeadNetwork) -> None:
    _, tokens = pairs()
    with torch.no_grad():
        found = find_spans(network, validation_batches(tokens.cover(40), 256), tokens)
    assert found.texts(PASSAGES)[-1] == ""
    assert np.isneginf(found.scores[-1])
    assert np.isfinite(found.scores[:-1]).all()
    assert np.isfinite(found.nothing).all()


def test_the_threshold_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    known = [["x y"] if dice < 0.6 else [] for dice in rng.random(60)]
    answers = ["x y" if dice < 0.5 else "x" for dice in rng.random(60)]
    margins = rng.normal(size=60) - np.asarray([1.0 if each else 0.0 for each in known])
    margins[:3] = np.inf
    margins[3:6] = margins[6]

    def reached(threshold: float) -> float:
        kept = [a if m <= threshold else "" for a, m in zip(answers, margins, strict=True)]
        return float(score_answers(kept, known)[1].mean())

    chosen = choose_threshold(margins, answers, known)
    tried = [-10.0, *np.sort(margins[np.isfinite(margins)]), 10.0]
    assert reached(chosen) == pytest.approx(max(map(reached, tried)))
    assert choose_threshold(np.ones(2), ["x", "x"], [["x"], ["x"]]) > 1
    assert choose_threshold(np.ones(2), ["x", "x"], [[], []]) < 1


def test_a_tokenizer_without_special_tokens_is_refused() -> None:
    fast = make_tokenizer()
    fast.sep_token = None
    with raises(BadInput, "model", "m"):
        frame_pairs(fast, "m")
