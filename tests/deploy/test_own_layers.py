"""An ALBERT with the layers of a BERT: its pieces, its tokens, its inner units, and its vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForQuestionAnswering, AutoTokenizer, BertModel

from deploy.model.own_layers import (
    active_units,
    choose_pieces,
    count_pieces,
    make,
    smaller_tokenizer,
)
from deploy.model.reader_questions import join
from tests.support.training import WORDS
from transforms.errors import BadInput
from transforms.training.options import StudentShape

TEXTS = [" ".join(WORDS[:6]), " ".join(WORDS[3:9]) + " zoo"] * 5


def shape_of(folder: Path) -> StudentShape:
    """Return the shape that keeps all there is of a BERT, with its embeddings at full rank."""
    config = BertModel.from_pretrained(folder).config
    return StudentShape(
        vocab_size=config.vocab_size,
        layers=config.num_hidden_layers,
        groups=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        embedding=config.hidden_size,
        positions=16,
    )


def tokenizer_of(folder: Path) -> Tokenizer:
    """Return a folder's tokenizer."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_smaller_tokenizer_splits_as_before_where_no_piece_is_missing(teacher: Path) -> None:
    whole = tokenizer_of(teacher)
    numbers = whole.get_vocab()
    names = sorted(numbers, key=numbers.__getitem__)
    counts = count_pieces(whole, TEXTS)
    kept = choose_pieces(names, counts, len(names) - 1)
    smaller = smaller_tokenizer(whole, kept)
    assert smaller.get_vocab_size() == len(names) - 1
    for text in TEXTS[:2]:
        assert smaller.encode(text).tokens == whole.encode(text).tokens
        assert kept[smaller.encode(text).ids].tolist() == whole.encode(text).ids


def test_seldom_pieces_go_first_and_special_ones_never() -> None:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "many", "few", "none"]
    kept = choose_pieces(names, np.asarray([0, 0, 0, 0, 0, 0, 0, 9, 1, 0]), 8)
    assert [names[place] for place in kept] == [*names[:7], "many"]


@pytest.mark.parametrize("size", [6, 11])
def test_number_of_pieces_out_of_range(size: int) -> None:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "many", "few", "none"]
    with pytest.raises(BadInput, match="must be from 7 to 10"):
        choose_pieces(names, np.zeros(10, np.int64), size)


def test_inner_unit_without_effect_goes_first(teacher: Path) -> None:
    network = BertModel.from_pretrained(teacher).eval()
    units = network.encoder.layer[0].output.dense.weight.shape[1]
    with torch.no_grad():
        network.encoder.layer[0].output.dense.weight[:, 2] = 0
    found = active_units(network, [torch.tensor([2, 5, 6, 3])], 0, units - 1)
    assert found.tolist() == [each for each in range(units) if each != 2]


def test_whole_model_computes_nearly_what_the_bert_does(teacher: Path, tmp_path: Path) -> None:
    shape = shape_of(teacher)
    share = make(teacher, TEXTS, shape, range(shape.layers), 400, tmp_path / "made")
    assert share < 0.1
    tokens = AutoTokenizer.from_pretrained(tmp_path / "made")
    theirs = AutoTokenizer.from_pretrained(teacher)
    own, network = AutoModel.from_pretrained(tmp_path / "made"), BertModel.from_pretrained(teacher)
    with torch.inference_mode():
        found = own(**tokens(TEXTS[0], return_tensors="pt", return_token_type_ids=False))
        right = network(**theirs(TEXTS[0], return_tensors="pt", return_token_type_ids=False))
    near = torch.cosine_similarity(found.last_hidden_state.float(), right.last_hidden_state, dim=-1)
    assert near.min() > 0.9


def test_smaller_model_has_its_sizes_and_takes_a_head(teacher: Path, tmp_path: Path) -> None:
    full = shape_of(teacher)
    shape = replace(
        full,
        vocab_size=full.vocab_size - 1,
        layers=1,
        groups=1,
        intermediate=full.intermediate // 2,
    )
    make(teacher, TEXTS, shape, range(shape.layers), 5, tmp_path / "made")
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "made")
    assert model.config.num_hidden_layers == model.config.num_hidden_groups == 1
    assert model.config.vocab_size == full.vocab_size - 1
    assert model.config.intermediate_size == full.intermediate // 2


def test_layers_are_those_that_are_taken(teacher: Path, tmp_path: Path) -> None:
    shape = replace(shape_of(teacher), layers=1, groups=1)
    make(teacher, TEXTS, shape, (1,), 5, tmp_path / "made")
    own, network = AutoModel.from_pretrained(tmp_path / "made"), BertModel.from_pretrained(teacher)
    found = own.encoder.albert_layer_groups[0].albert_layers[0].attention.query.weight.float()
    right = [layer.attention.self.query.weight for layer in network.encoder.layer]
    assert torch.allclose(found, right[1], atol=1e-3)
    assert not torch.allclose(found, right[0], atol=1e-3)


def test_segments_differ(teacher: Path, tmp_path: Path) -> None:
    make(teacher, TEXTS, shape_of(teacher), range(4), 5, tmp_path / "made")
    own = AutoModel.from_pretrained(tmp_path / "made")
    ids = torch.tensor([[2, 6, 7, 3]])
    with torch.inference_mode():
        first, second = (own(input_ids=ids, token_type_ids=ids * 0 + n)[0] for n in (0, 1))
    assert not torch.allclose(first, second)


def test_more_layers_than_there_are(teacher: Path, tmp_path: Path) -> None:
    shape = replace(shape_of(teacher), layers=9, groups=9)
    with pytest.raises(BadInput, match="must be 9 numbers from 0 to 3") as raised:
        make(teacher, TEXTS, shape, range(shape.layers), 5, tmp_path / "made")
    assert raised.value.option == "layers"
    assert not (tmp_path / "made").exists()


def test_folder_that_is_no_bert(albert: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is of type albert"):
        make(albert, TEXTS, StudentShape(), range(6), 5, tmp_path / "made")


def test_questions_without_answers_are_joined_to_the_others() -> None:
    answered = pa.table(
        {"question": ["a"], "relevant": [["p1"]], "answers": [["x", "y"]], "question_id": ["q"]}
    )
    joined = join(answered, pa.table({"question": ["b"], "passage": ["p2"]}))
    assert joined.to_pylist() == [
        {"question": "a", "relevant": ["p1"], "answers": ["x", "y"]},
        {"question": "b", "relevant": ["p2"], "answers": []},
    ]
