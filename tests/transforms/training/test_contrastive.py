"""Pairs, hard negatives and the batches of contrastive training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.training import write_pairs
from transforms.errors import BadInput
from transforms.training.hard_negatives import build_postings, mine_hard_negatives, top_k
from transforms.training.pairs import PairData, Pairs, draw_held_out, group_neighbours, read_pairs


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"question": ["why?"], "relevant": [["p9"]]}, ["'why?'", "p9"]),
        ({"question": ["why?"], "relevant": [[]]}, ["0 answered questions"]),
        ({"question": ["why?"]}, ["no column 'relevant'"]),
        ({"question": ["why?"], "relevant": ["p1"]}, ["'relevant'", "string", "lists of ids"]),
        ({"question": [None], "relevant": [["p1"]]}, ["'question'", "null", "Convert it to text"]),
        ({"question": ["why?", None], "relevant": [["p1"], ["p2"]]}, ["row 1 has no question"]),
    ],
)
def test_questions_that_do_not_fit_their_passages_are_refused(
    tmp_path: Path, asked: dict[str, list[object]], words: list[str]
) -> None:
    passages, questions = write_pairs(tmp_path / "pairs", 4)
    pq.write_table(pa.table(asked), questions)
    with pytest.raises(BadInput) as caught:
        read_pairs(passages, questions)
    assert (caught.value.option, caught.value.value) == ("pairs", str(questions))
    for word in words:
        assert word in f"{caught.value.problem} {caught.value.remedy}"


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    passages, questions = write_pairs(tmp_path / "pairs", 4)
    pq.write_table(pa.table({"id": ["p1", "p1"], "text": ["a", "b"]}), passages)
    with pytest.raises(BadInput) as caught:
        read_pairs(passages, questions)
    assert caught.value.value == str(passages)
    assert "p1 twice" in caught.value.problem


def test_equal_questions_and_equal_passages_are_one(tmp_path: Path) -> None:
    passages, questions = tmp_path / "p.parquet", tmp_path / "q.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "text": ["a", "b", "a"]}), passages)
    asked = {"question": ["x", "y", "x", "z"], "relevant": [[1], [2], [3, 2], None]}
    pq.write_table(pa.table(asked), questions)
    pairs = read_pairs(passages, questions)
    assert pairs.passages == ["a", "b"]
    assert pairs.questions == ["x", "y"]
    assert pairs.relevant == [[0, 1], [1]]


def test_held_out_passages_take_no_part() -> None:
    relevant = [[0], [1], [1, 2], [3], [4], [5]]
    pairs = Pairs("p", list("abcdefgh"), list("uvwxyz"), relevant)
    assert all(draw_held_out(pairs, 0.05, 9, seed) < set(range(6)) for seed in range(20))
    assert {len(draw_held_out(pairs, 0.05, 9, seed)) for seed in range(20)} == {1}
    (only,) = PairData([pairs], [[[]] * 8], [{1}], 8, 2, 4, 1).epoch(0)
    # A held-out passage answers "w" too.
    assert sorted(only.passages) == [0, 3, 4, 5]
    assert sorted(only.questions) == [0, 3, 4, 5]


def test_bm25_finds_hard_negatives_but_no_answers() -> None:
    documents = [np.array(d, np.int32) for d in ([1, 2, 3], [1, 2, 4], [5, 6, 7], [8, 9, 5])]
    postings = build_postings(documents, 10, common=1.0)
    assert top_k(postings, np.array([1, 3], np.int32), 4).tolist() == [0, 1]
    assert top_k(postings, np.array([], np.int32), 4).tolist() == []
    found = mine_hard_negatives(documents, [np.array([1, 3], np.int32)], [[0]], 10)
    assert found == [[1], [], [], []]


def test_batches_take_each_passage_once_and_mark_all_answers() -> None:
    rng = np.random.default_rng(0)
    groups = group_neighbours(range(6), [], [[1], [0], [9], [], [5], [4]], 2, rng)
    assert sorted(n for g in groups for n in g) == list(range(6))
    assert sorted(sorted(g) for g in groups if len(g) > 1) == [[0, 1], [4, 5]]
    pairs = Pairs("p", list("abcdef"), ["q0", "q1", "q2"], [[0, 1], [2], [5]])
    data = PairData([pairs], [[[]] * 6], [{5}], 8, 2, 4, 1)
    (only,) = data.epoch(0)
    assert sorted(only.passages) == [0, 1, 2]
    assert sorted(only.questions) == [0, 1]
    assert int(only.relevant.sum()) == 3
    assert [batch.passages for batch in data.epoch(0)] == [only.passages]


def test_passages_without_questions_come_in_as_hard_negatives_only() -> None:
    pairs = Pairs("p", list("abcdef"), ["q0", "q1"], [[0], [1]])
    ranked = [[3, 4], [4, 5], [], [], [], []]
    data = PairData([pairs], [ranked], [set()], 8, 2, 4, 1)
    (only,) = data.epoch(0)
    assert {0, 1} < set(only.passages)
    assert set(only.passages) <= {0, 1, 3, 4, 5}
    assert len(only.passages) == 4
    assert sorted(only.questions) == [0, 1]
    assert int(only.relevant.sum()) == 2
    (kept,) = replace(data, held_out=[{4}]).epoch(0)
    assert sorted(kept.passages) == [0, 1, 3, 5]
    # The first group, of four, makes two batches; the second batch has no questions.
    alone = Pairs("p", list("abcde"), ["q0", "q1"], [[0], [0]])
    small = replace(data, corpora=[alone], negatives=[[[2, 3, 4], *[[]] * 4]])
    (only,) = replace(small, passages=2, neighbours=4).epoch(0)
    assert sorted(only.passages) == [0, 2]
