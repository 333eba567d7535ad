"""The student's vocabulary, and its first weights from the teacher's layers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.training import SHAPE, WORDS, sample_texts
from transforms.errors import BadInput
from transforms.training.initialization import (
    check_source,
    factorize,
    source_layers,
    split_as_teacher,
    standardize,
    start_weights,
    strongest,
    whole_words,
    word_pieces,
)
from transforms.training.vocabulary import albert_tokenizer, normalize, pieces, train_vocabulary


def test_vocabulary_follows_albert_conventions() -> None:
    model = train_vocabulary(sample_texts(400), 70)
    names = [piece for piece, _ in pieces(model)]
    assert names[:5] == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    assert len(names) == 70
    assert all(piece.lower() == piece for piece in names[5:])
    tokenizer = albert_tokenizer(model, 12)
    ids = tokenizer("RIVER  Stóne")["input_ids"]
    assert ids == tokenizer("river stone")["input_ids"]
    assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == ["[CLS]", "[SEP]"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "river stone"
    assert normalize("``RIVER''  Stóne") == '"river" stone'


@pytest.mark.parametrize(("size", "problem"), [(5000, "can't be trained"), (9, "characters")])
def test_a_vocabulary_that_the_texts_do_not_support_is_refused(size: int, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        train_vocabulary(sample_texts(400), size)
    assert (caught.value.option, caught.value.value) == ("vocab_size", size)
    assert problem in caught.value.problem


def test_words_of_the_teacher_become_whole_pieces(teacher: Path) -> None:
    known = whole_words(teacher)
    assert set(WORDS) < set(known)
    assert not any("[" in word or "#" in word or word == "." for word in known)
    others = [" ".join(word[::-1] for word in text.split()) for text in sample_texts(300)]
    alone = {piece for piece, _ in pieces(train_vocabulary(others, 70))}
    # sentencepiece considers only what occurs in two or more words.
    words = [*WORDS, *(f"{word}s" for word in WORDS)]
    added = {piece for piece, _ in pieces(train_vocabulary(others, 110, words=words))}
    assert not alone & {f"▁{word}" for word in WORDS}
    assert len(added & {f"▁{word}" for word in WORDS}) > 10
    assert whole_words(teacher / "1_Pooling") == []


def test_word_pieces_come_from_the_tokenizer_where_there_is_no_vocabulary_file(
    teacher: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "teacher"
    shutil.copytree(teacher, folder)
    known = word_pieces(folder)
    (folder / "vocab.txt").unlink()
    assert word_pieces(folder) == known
    check_source(folder, SHAPE)
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    assert word_pieces(folder) == []
    with pytest.raises(BadInput) as caught:
        check_source(folder, SHAPE)
    assert "has no word piece" in caught.value.problem


@pytest.mark.parametrize(
    ("sizes", "remedy"),
    [
        ({"hidden": 64}, "Set --hidden 32"),
        ({"intermediate": 65}, "Set --intermediate 64 or less"),
        ({"positions": 65}, "Set --positions 64 or less"),
    ],
)
def test_a_teacher_too_small_for_the_student_is_refused(
    teacher: Path, sizes: dict[str, int], remedy: str
) -> None:
    with pytest.raises(BadInput) as caught:
        check_source(teacher, replace(SHAPE, **sizes))
    assert (caught.value.option, caught.value.value) == ("teacher", str(teacher))
    assert caught.value.remedy == remedy


def test_pieces_split_as_the_teacher_would() -> None:
    vocabulary = {name: n for n, name in enumerate(["un", "##do", "##ing", "do", "."])}
    assert split_as_teacher("▁undoing", vocabulary) == [0, 1, 2]
    assert split_as_teacher("doing", vocabulary) == [1, 2]
    assert split_as_teacher(".", vocabulary) == [4]
    assert split_as_teacher("▁", vocabulary) == []


def test_factorized_embeddings_are_the_teachers_within_the_basis() -> None:
    dice = np.random.default_rng(0)
    low = dice.normal(size=(50, 6)).astype(np.float32) @ dice.normal(size=(6, 24)).astype(
        np.float32
    )
    place = np.zeros((8, 24), np.float32)
    one, zero = np.ones(24, np.float32), np.zeros(24, np.float32)
    made = factorize(
        words=low,
        positions=place,
        kinds=np.zeros((2, 24), np.float32),
        gain=one,
        shift=zero,
        weights=np.ones(50, np.float32),
        width=8,
    )
    codes = made["embeddings.word_embeddings.weight"]
    mapping = made["encoder.embedding_hidden_mapping_in.weight"]
    scale = np.linalg.norm(mapping[:, 0])
    rebuilt = codes @ mapping.T / scale + made["encoder.embedding_hidden_mapping_in.bias"]
    assert np.allclose(rebuilt, standardize(low)[0], atol=1e-3)


def test_groups_start_from_middle_layers() -> None:
    assert source_layers(6, 2) == [1, 4]
    assert source_layers(6, 1) == [3]
    assert source_layers(12, 6) == [1, 3, 5, 7, 9, 11]


def test_narrower_layers_keep_their_strongest_units(teacher: Path) -> None:
    into, out = np.eye(4, 3, dtype=np.float32), np.ones((3, 4), np.float32)
    assert strongest(into, out * np.array([3, 1, 2, 9], np.float32), 2).tolist() == [0, 2]
    names = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "▁river"]
    shape = replace(SHAPE, vocab_size=6)
    whole = start_weights(teacher, shape, names, [1] * 6)
    half = start_weights(teacher, replace(shape, intermediate=32), names, [1] * 6)
    layer = "encoder.albert_layer_groups.1.albert_layers.0."
    kept = strongest(whole[layer + "ffn.weight"], whole[layer + "ffn_output.weight"], 32)
    assert np.array_equal(half[layer + "ffn.weight"], whole[layer + "ffn.weight"][kept])
    assert np.array_equal(half[layer + "ffn.bias"], whole[layer + "ffn.bias"][kept])
    ours, theirs = (w[layer + "ffn_output.weight"] for w in (half, whole))
    assert np.array_equal(ours, theirs[:, kept])
