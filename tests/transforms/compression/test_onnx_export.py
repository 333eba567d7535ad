"""Exports: an ONNX file gives what the network gives, with each pooling and each head."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForMultipleChoice,
    AlbertForTokenClassification,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from tests.support.exports import export_model
from tests.support.models import make_model, make_pair_model, make_texts, make_tokenizer
from tests.support.raising import raises
from transforms.encoder.load import load_passage_encoder
from transforms.encoder.probes import smallest_cosine
from transforms.encoder.reference import reference_vectors
from transforms.errors import BadInput
from transforms.models.exported import read_exported
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model

_SIZE = {
    "vocab_size": len(make_tokenizer()), "embedding_size": 24, "hidden_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
    "initializer_range": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "options"),
    [
        pytest.param("albert", {"pooling": "cls"}, marks=pytest.mark.slow),
        ("albert", {"pooling": "max", "layer": -2, "normalize": False}),
        ("bert", {"pooling": "mean", "max_tokens": 30}),
        pytest.param("bert", {"pooling": "cls", "layer": 1}, marks=pytest.mark.slow),
        pytest.param("bert", {"pooling": "max"}, marks=pytest.mark.slow),
        pytest.param("distilbert", {}, marks=pytest.mark.slow),
    ],
)
def test_vectors_of_an_export_are_those_of_the_model(
    tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    model = make_model(tmp_path / "model", family)
    source = find_model(ModelOptions(str(model), **options))
    folder = export_model(model, tmp_path / "exported", **options)
    encoder = load_passage_encoder(find_model(ModelOptions(str(folder))), Placement())
    assert not encoder.identity.difference(source.identity)
    texts = make_texts(12, seed=6)
    ids = encoder.tokenizer.encode_framed(texts, source.identity.max_tokens)
    expected = reference_vectors(source, ids)
    made = encoder.encode_texts(texts)
    assert smallest_cosine(made, expected) >= 0.999999
    # Not only the directions are equal.
    assert np.allclose(made, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "task",
    [
        "read",
        "classify",
        *(pytest.param(task, marks=pytest.mark.slow) for task in ("tag", "rerank")),
    ],
)
def test_scores_of_an_exported_head_are_those_of_the_network(tmp_path: Path, task: str) -> None:
    model = tmp_path / "model"
    auto: Any
    if task == "tag":
        torch.manual_seed(3)
        AlbertForTokenClassification(AlbertConfig(**_SIZE, num_labels=5)).save_pretrained(model)
        make_tokenizer().save_pretrained(model)
        auto = AutoModelForTokenClassification
    elif task == "read":
        make_pair_model(model, "read", labels=2)
        auto = AutoModelForQuestionAnswering
    else:
        make_pair_model(model, "rank", labels=3 if task == "classify" else 1, family="bert")
        auto = AutoModelForSequenceClassification
    folder = export_model(model, tmp_path / "exported")
    described = read_exported(str(folder), "exported")
    assert described is not None
    assert described.task == task
    assert len(described.labels) == {"classify": 3, "tag": 5, "read": 0, "rerank": 1}[task]
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    drawn = np.random.default_rng(0)
    ids = drawn.integers(5, 60, (5, 21))
    mask, types = np.ones_like(ids), np.zeros_like(ids)
    mask[2, 9:], types[:, 4:] = 0, 1
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    network = auto.from_pretrained(model).eval()
    with torch.inference_mode():
        expected = network(**{name: torch.from_numpy(each) for name, each in given.items()})
    names = ["start_logits", "end_logits"] if task == "read" else ["logits"]
    for name, made in zip(names, session.run(names, given), strict=True):
        wanted = expected[name].numpy()
        seen = mask.astype(bool) if wanted.shape[:2] == mask.shape else slice(None)
        assert np.allclose(made[seen], wanted[seen], atol=1e-4)


def test_heads_without_an_onnx_form_are_refused(tmp_path: Path) -> None:
    choice = tmp_path / "choice"
    AlbertForMultipleChoice(AlbertConfig(**_SIZE)).save_pretrained(choice)
    make_tokenizer().save_pretrained(choice)
    with raises(BadInput, "model", choice, "AlbertForMultipleChoice"):
        export_model(choice, tmp_path / "exported")
    vectors = make_model(tmp_path / "vectors")
    (vectors / "head.json").write_text(json.dumps({"kind": "vector", "version": 1}))
    with raises(BadInput, "model", vectors, "no ONNX form"):
        export_model(vectors, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
