"""Fine-tuning of a tiny encoder on scored pairs: what it learns, resumes and refuses."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from pipeline.training.finetune_similar import finetune_similar
from pipeline.training.task_options import SimilarOptions
from tests.support.commands import printed
from tests.support.head_training import assert_resumes, quiet
from tests.support.models import WORDS, make_model
from tests.support.raising import raises
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.tasks.networks.similarity_training import PairBatches, ranking_loss
from transforms.tasks.training_options import AUGMENTATIONS
from transforms.training.hard_negatives import Int32


def write_pairs(path: Path, count: int, seed: int = 0) -> Path:
    """Write pairs of texts; the score is how many of four words they share."""
    dice = random.Random(seed)
    words = [word for word in WORDS if word.isascii()]
    rows = []
    for _ in range(count):
        shared = dice.randint(0, 4)
        chosen = dice.sample(words, 8 - shared)
        one, other = chosen[:4], [*chosen[:shared], *chosen[4:]]
        dice.shuffle(other)
        rows.append((" ".join(one), " ".join(other), float(shared)))
    columns = dict(zip(("sentence1", "sentence2", "score"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
    return path


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> SimilarOptions:
    return SimilarOptions(
        model=albert,
        data=(write_pairs(tmp_path / "train.parquet", 200),),
        output=tmp_path / "encoder",
        work=tmp_path / "work",
        steps=30,
        rate=3e-3,
        optimizer="muon",
        batch_tokens=512,
        evaluate_every=10,
        precision="float32",
    )


@pytest.mark.parametrize(("average", "gain"), [(1.0, 0.03), (0.2, 0.0)])
def test_an_encoder_learns_the_order_of_the_scores(
    options: SimilarOptions, tmp_path: Path, average: float, gain: float
) -> None:
    from sentence_transformers import SentenceTransformer

    validation = write_pairs(tmp_path / "validation.parquet", 80, seed=9)
    rows = pq.read_table(validation).to_pydict()

    def measured(folder: Path) -> float:
        model = SentenceTransformer(str(folder), device="cpu")
        one, other = (model.encode(rows[name]) for name in ("sentence1", "sentence2"))
        unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other)]
        return float(spearmanr((unit[0] * unit[1]).sum(1), rows["score"]).statistic)

    changed = replace(options, validation=(validation,), average=average)
    result = finetune_similar(changed, quiet)
    assert measured(options.output) == pytest.approx(result.score, abs=1e-2)
    assert result.metrics["spearman"] == result.score > measured(options.model) + gain
    card = (options.output / "README.md").read_text()
    assert "sentence_transformers" in card
    # The score is that of the weights that are written, which may be mixed.
    assert f"| spearman | {result.score:.4f} |" in card
    assert "held_out" not in card
    assert (options.output / "history.jsonl").exists()


def test_a_training_on_pairs_resumes_bit_for_bit(
    options: SimilarOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(
        options, steps=8, evaluate_every=3, dropout=0.1, average=0.5, augment=AUGMENTATIONS
    )
    assert_resumes(finetune_similar, broken, monkeypatch)


def test_the_command_prints_what_it_trained(
    options: SimilarOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(options.model), "--data", str(options.data[0])]
    words += ["--output", str(options.output), "--steps", "2"]
    found = printed(capsys, "finetune", "similar", *words)
    assert found["steps"] == 2
    assert found["metrics"]["spearman"] == found["score"]


@pytest.mark.parametrize(
    ("scores", "problem"),
    [([1.0, None], "row 1"), ([1.0, float("nan")], "row 1"), ([2.0, 2.0], "one score")],
)
def test_scores_that_cant_be_learnt_are_refused(
    options: SimilarOptions, tmp_path: Path, scores: list[float | None], problem: str
) -> None:
    path = tmp_path / "bad.parquet"
    table = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": scores}
    pq.write_table(pa.table(table), path)
    with raises(BadInput, "data", path, problem):
        finetune_similar(replace(options, data=(path,)), quiet)


def test_what_cant_be_trained_is_refused(options: SimilarOptions, tmp_path: Path) -> None:
    few = write_pairs(tmp_path / "few.parquet", 5)
    with raises(BadInput, "data", few):
        finetune_similar(replace(options, data=(few,)), quiet)
    with raises(BadInput, "model"):
        finetune_similar(replace(options, model=make_model(tmp_path / "other", "roberta")), quiet)
    with raises(BadInput, "train", "head"):
        replace(options, train="head")
    with raises(BadInput, "average"):
        replace(options, average=0.0)


def test_the_ranking_loss_is_least_for_the_right_order() -> None:
    scores = torch.tensor([0.0, 1.0, 2.0])
    right = ranking_loss(torch.tensor([0.0, 0.5, 1.0]), scores)
    wrong = ranking_loss(torch.tensor([1.0, 0.5, 0.0]), scores)
    assert 0 <= right < 0.01
    assert wrong > 10
    assert ranking_loss(torch.tensor([0.3, 0.1]), torch.tensor([1.0, 1.0])) == 0


def test_batches_of_pairs_cover_each_pass() -> None:
    def rows(lengths: Sequence[int]) -> list[Int32]:
        return [np.zeros(length, np.int32) for length in lengths]

    first, second = [4, 5, 10, 30] * 10, [6, 15, 20, 10] * 10
    lengths = np.asarray(first) + second
    given = [rows([*first, *second]), rows([*second, *first])]
    data = PairBatches(given.__getitem__, 100, 1)
    batches = data.epoch(0)
    assert sum(len(batch.pairs) for batch in batches) >= 36
    assert all(lengths[batch.pairs].sum() < 140 for batch in batches)
    found = next(data.batches(len(batches) + 1))
    assert found.rows is given[1]
    assert np.array_equal(found.pairs, data.epoch(1)[1].pairs)
    long = PairBatches(lambda _: rows([300, 300, 200, 200]), 100, 1)
    assert len(long.epoch(0)[0].pairs) == 2


def test_a_bert_learns_and_other_libraries_load_it(
    options: SimilarOptions, teacher: Path, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    validation = write_pairs(tmp_path / "validation.parquet", 60, seed=1)
    asked = replace(options, model=teacher, validation=(validation,), max_tokens=32)
    result = finetune_similar(asked, quiet)
    table = pq.read_table(validation).to_pydict()
    assert result.score > 0.6
    theirs = SentenceTransformer(str(options.output), device="cpu")
    one, other = (
        theirs.encode(table[name], normalize_embeddings=True) for name in ("sentence1", "sentence2")
    )
    rho = spearmanr((one * other).sum(1), table["score"]).statistic
    assert rho == pytest.approx(result.score, abs=0.02)
    found = find_model(ModelOptions(str(options.output)))
    encoder = load_encoder(found, Placement("cpu", "float32"))
    np.testing.assert_allclose(encoder.encode_texts(table["sentence1"]), one, atol=2e-3)
    config = json.loads((options.output / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertModel"])


def test_a_bert_resumes_and_learns_low_ranks(
    options: SimilarOptions, teacher: Path, tmp_path: Path
) -> None:
    lora = replace(options, model=teacher, train="lora", steps=6, evaluate_every=6, max_tokens=32)
    finetune_similar(lora, quiet)
    before = load_file(teacher / "model.safetensors")
    after = load_file(options.output / "model.safetensors")
    same = [np.allclose(before[name], after[name], atol=1e-3) for name in after]
    assert any(same)
    assert not all(same)


@pytest.mark.parametrize(
    ("pooling", "problem"), [("cls", "pools its tokens by cls"), ("max", "pools its tokens by max")]
)
def test_a_model_that_pools_in_another_way_is_refused(
    options: SimilarOptions, teacher: Path, tmp_path: Path, pooling: str, problem: str
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(teacher, folder)
    kind = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{kind}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{kind}.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    mode = {"pooling_mode": pooling}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(mode))
    with raises(BadInput, "model", folder, problem):
        finetune_similar(replace(options, model=folder), quiet)
