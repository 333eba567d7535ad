"""Rerankers and readers in numpy give what they give in torch, or are left to torch."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.support.models import make_pair_model, make_texts
from transforms.encoder.light.pairs import load_light_pairs
from transforms.models.options import Placement
from transforms.search.reader import Reader
from transforms.search.reranker import Reranker

EXACT = Placement("cpu", "float32")
QUESTIONS = [*make_texts(8, seed=3, longest=6), "river?", "x " * 300]
PASSAGES = [*make_texts(8, seed=4, longest=240), " ", "window " * 300]
PAIRS = list(zip(QUESTIONS, PASSAGES, strict=True))


def typed(folder: Path) -> Path:
    """Make a tokenizer tell which tokens are those of the second text, as finetune does."""
    file = folder / "tokenizer_config.json"
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    file.write_text(json.dumps(json.loads(file.read_text()) | names))
    return folder


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_scores_and_spans_are_those_of_torch(tmp_path: Path, family: str) -> None:
    ranking = make_pair_model(tmp_path / "rank", "rank", family=family)
    ranker = Reranker(str(typed(ranking)), EXACT)
    light = ranker.scores(PAIRS)
    assert ranker.model is not ranker.full()
    # From now on torch reads.
    np.testing.assert_allclose(ranker.scores(PAIRS), light, atol=1e-4)
    assert np.ptp(light) > 0.01
    reader = Reader(str(make_pair_model(tmp_path / "read", "read", 2, family=family)), EXACT)
    ours = reader.spans(PAIRS)
    reader.full()
    for our, their in zip(ours, reader.spans(PAIRS), strict=True):
        assert (our is None) == (their is None)
        if our is None or their is None:
            continue
        assert (our.text, our.start, our.end) == (their.text, their.start, their.end)
        assert our.score == pytest.approx(their.score, abs=1e-4)
        assert our.no_answer == pytest.approx(their.no_answer, abs=1e-4)


def test_a_long_passage_has_rows_that_overlap(tmp_path: Path) -> None:
    folder = str(make_pair_model(tmp_path / "m", "read", 2))
    model = load_light_pairs(folder, folder, "QuestionAnswering")
    assert model is not None
    framed = model.frame([("river?", "window " * 300), ("stone?", "music")], overlap=20)
    assert framed.owners == [0] * (len(framed.owners) - 1) + [1]
    assert len(framed.owners) > 3
    assert all(len(each.ids) <= model.limit for each in framed.encodings)
    assert len(model.frame([("river?", "window " * 300)]).encodings) == 1


def test_the_types_of_tokens_count(tmp_path: Path) -> None:
    folder = typed(make_pair_model(tmp_path / "m", "rank"))
    before = Reranker(str(folder), EXACT).scores(PAIRS)
    weights = load_file(folder / "model.safetensors")
    types = weights["albert.embeddings.token_type_embeddings.weight"]
    types[1] += np.arange(types.shape[1])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    changed = Reranker(str(folder), EXACT)
    scores = changed.scores(PAIRS)
    assert np.abs(scores - before).max() > 0.01
    changed.full()
    np.testing.assert_allclose(changed.scores(PAIRS), scores, atol=1e-4)


def config(**changes: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        known = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(known | changes))

    return apply


def without_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: each for name, each in weights.items() if "classifier" not in name},
              folder / "model.safetensors", {"format": "pt"})  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        config(hidden_act="silu"),
        config(id2label={"0": "a", "1": "b", "2": "c"}),
        config(id2label=["a"]),
        config(num_labels="two"),
        without_head,
    ],
)
def test_what_transformers_would_read_otherwise_is_left_to_it(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = make_pair_model(tmp_path / "m", "rank")
    head = "SequenceClassification"
    assert load_light_pairs(str(folder), "m", head) is not None
    change(folder)
    assert load_light_pairs(str(folder), "m", head) is None
