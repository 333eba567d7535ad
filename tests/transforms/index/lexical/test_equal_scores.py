"""Equal texts: one score, in the order of their rows, however many are asked for."""

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.index.lexical import tantivy_index, word_ranking
from transforms.index.lexical.tantivy_files import OpenPiece, write_index
from transforms.index.lexical.tantivy_index import LexicalIndex

WORDS = [f"word{number}" for number in range(40)] + ["snake_case", "camelCase", "C++", "résumé"]


def text(dice: random.Random, longest: int) -> str:
    weights = [1 / (1 + number) for number in range(len(WORDS))]
    return " ".join(dice.choices(WORDS, weights, k=dice.randint(1, longest)))


def build(folder: Path, texts: list[str], cuts: list[int]) -> LexicalIndex:
    pieces = []
    for number, (start, stop) in enumerate(pairwise([0, *cuts, len(texts)])):
        place = folder / str(number)
        place.mkdir(parents=True)
        for piece in write_index(place, texts[start:stop], "english"):
            pieces.append(OpenPiece(piece.rows, start, piece.files))
    return LexicalIndex(pieces, "english")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9_999), share=st.sampled_from((None, 0.5, 0.05)), large=st.booleans())
def test_a_longer_ranking_begins_with_a_shorter_one(
    seed: int, share: float | None, large: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dice = random.Random(seed)
    rows = dice.choice([40, 300, 2_000])
    same = [text(dice, 60) for _ in range(dice.randint(1, 6))]
    often = dice.choice([0.2, 0.9])
    texts = [dice.choice(same) if dice.random() < often else text(dice, 30) for _ in range(rows)]
    cuts = sorted(dice.sample(range(1, rows), dice.randint(0, 4)))
    index = build(tmp_path_factory.mktemp("index"), texts, cuts)
    live = None if share is None else np.random.default_rng(seed).random(rows) < share
    questions = [text(dice, 20), dice.choice(WORDS), dice.choice(same)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tantivy_index, "AT_ONCE", 30)
        patch.setattr(word_ranking, "AT_ONCE", 30)
        if large:
            patch.setattr(word_ranking, "_LARGE", 10)
            patch.setattr(word_ranking, "_DEPTHS", ((3, 6), (9, 20)))
        for question in questions:
            scores, found = index.search(question, rows, live)
            if not large:
                assert np.lexsort((found, -scores)).tolist() == list(range(len(found)))
            for k in (1, 2, 5, 10, 33):
                some = index.search(question, k, live)
                assert some[1].tolist() == found[:k].tolist()
                assert some[0].tolist() == scores[:k].tolist()
                wanted = index.candidates(question, k, live)
                assert len(wanted) == min(k, len(found))
            by_text: dict[str, set[float]] = {}
            every = index.scores(question, np.arange(rows))
            for row, score in [*enumerate(every.tolist()), *zip(found, scores, strict=True)]:
                by_text.setdefault(texts[int(row)], set()).add(float(score))
            assert {len(different) for different in by_text.values()} == {1}


def test_of_many_equal_texts_the_first_come_first(tmp_path: Path) -> None:
    texts = ["a river between stones"] * 3_000
    texts[::7] = ["another river"] * len(texts[::7])
    index = build(tmp_path, texts, [10, 1_500])
    same = [row for row, text in enumerate(texts) if "stones" in text]
    for question in ("stones", "stones between rivers", "the river between the stones"):
        for k in (1, 10, 700):
            scores, rows = index.search(question, k)
            assert rows.tolist() == same[:k]
            assert len(set(scores.tolist())) == 1
            assert sorted(index.candidates(question, k).tolist()) == same[:k]
