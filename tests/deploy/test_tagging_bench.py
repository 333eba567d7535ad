"""The comparison of taggers: both systems see the same tokens with the same labels."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.bench.tagging import labelled_tokens, measure
from pipeline.training.finetune_tag import finetune_tag
from pipeline.training.task_options import TagOptions
from tests.support.models import make_model
from transforms.models.tokenizer import load_fast_tokenizer
from transforms.tasks.data.tag_rows import learn_tags, read_tagged
from transforms.tasks.networks.head_network import load_tokenizer
from transforms.tasks.networks.tagging import label_windows
from transforms.tasks.networks.windows import cut_windows

TOKENS = [["river", "stone", "music"], ["paper", "river"], ["summer"], ["garden", "valley"] * 9]
TAGS = [["B-place", "I-place", "O"], ["O", "B-place"], ["O"], ["O", "B-place"] * 9]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"tokens": TOKENS, "tags": TAGS}), path)
    return path


def test_both_systems_see_the_same_tokens_and_labels(data: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    rows = read_tagged([data], "data")
    theirs = labelled_tokens(rows, load_fast_tokenizer(str(model), str(model)), 128)
    windows = cut_windows(load_tokenizer(model)[1], rows.texts, 128, 32, offsets=True)
    ours = label_windows(windows, rows.words, rows.codes(learn_tags(rows)))
    assert len(ours) == len(theirs) == 4
    for row, their in enumerate(theirs):
        assert ours.ids[row].tolist() == their["input_ids"]
        assert np.array_equal(ours.labels[row], their["labels"])


def test_a_tagger_is_measured_as_in_its_training(data: Path, tmp_path: Path) -> None:
    options = TagOptions(
        model=make_model(tmp_path / "model"), data=(data,), validation=(data,),
        output=tmp_path / "tagger", work=tmp_path / "work", steps=60, rate=5e-3, optimizer="adamw",
        dropout=0.0, batch_tokens=256, evaluate_every=60, precision="float32",
    )  # fmt: skip
    result = finetune_tag(options, lambda _: None)
    found = measure(options.output, data, read_tagged([data], "data"), 128)
    assert found["f1"] == pytest.approx(result.score)
    low, high = found["interval"]
    assert low <= found["f1"] <= high
