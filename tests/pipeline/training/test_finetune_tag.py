"""Fine-tuning of a tiny network to tag: what it learns, writes, resumes and finds."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.training.finetune_tag import finetune_tag
from pipeline.training.task_options import TagOptions
from tests.support.commands import printed
from tests.support.head_training import PLACES, assert_resumes, quiet, same_weights
from tests.support.models import WORDS, make_model
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.tasks.data.bio import entities, join_words
from transforms.tasks.metrics.entity_metrics import entity_metrics
from transforms.tasks.networks.text_tagger import TextTagger

NAMES = ("O", "B-person", "I-person", "B-place", "I-place")


def sample(count: int, seed: int) -> list[tuple[list[str], list[str]]]:
    """Return sentences with places of one word and persons of two."""
    dice = random.Random(seed)
    others = [word for word in WORDS if word not in (*PLACES, "doctor", "cotton")]
    made = []
    for _ in range(count):
        words = dice.choices(others, k=dice.randint(2, 8))
        tags = ["O"] * len(words)
        at = dice.randint(0, len(words))
        if dice.random() < 0.5:
            words[at:at], tags[at:at] = [dice.choice(sorted(PLACES))], ["B-place"]
        else:
            words[at:at] = ["doctor", "cotton"]
            tags[at:at] = ["B-person", "I-person"]
        made.append((words, tags))
    return made


def write_rows(path: Path, rows: list[tuple[list[str], list[str]]]) -> Path:
    tokens, tags = zip(*rows, strict=True)
    pq.write_table(pa.table({"tokens": list(tokens), "tags": list(tags)}), path)
    return path


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> TagOptions:
    return options_in(tmp_path, albert)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """Folder of a tagger that was trained without further options; see `validation_of`."""
    plain = options_in(tmp_path_factory.mktemp("plain"), albert)
    finetune_tag(replace(plain, validation=(validation_of(plain.work.parent),)), quiet)
    return plain.output


def validation_of(folder: Path) -> Path:
    return write_rows(folder / "validation.parquet", sample(60, 9))


def options_in(folder: Path, model: Path) -> TagOptions:
    return TagOptions(
        model=model,
        data=(write_rows(folder / "train.parquet", sample(240, 0)),),
        output=folder / "tagger",
        work=folder / "work",
        steps=150,
        optimizer="muon",
        dropout=0.0,
        rate=3e-3,
        batch_tokens=512,
        evaluate_every=150,
        precision="float32",
        max_tokens=32,
    )


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_tagger_learns_and_transformers_gives_the_same_predictions(
    options: TagOptions, tmp_path: Path, family: str
) -> None:
    from transformers import pipeline

    rows = sample(60, 9)
    validation = write_rows(tmp_path / "validation.parquet", rows)
    model = make_model(tmp_path / family, family)
    result = finetune_tag(replace(options, model=model, validation=(validation,)), quiet)
    assert result.score > 0.8
    guess = pipeline("token-classification", str(options.output), ignore_labels=[])
    predicted = []
    for words, _ in rows:
        text, spans = join_words(words)
        starts = {int(start): number for number, start in enumerate(spans[:, 0])}
        tags = ["O"] * len(words)
        for piece in guess(text)[::-1]:
            # The first piece of a word may begin with the blank before it.
            number = starts.get(piece["start"], starts.get(piece["start"] + 1))
            if number is not None and piece["start"] <= spans[number, 0]:
                tags[number] = piece["entity"]
        predicted.append(tags)
    metrics = entity_metrics(
        [entities(tags) for _, tags in rows], [entities(tags) for tags in predicted], resamples=2
    )
    assert metrics.values["micro_f1"] == pytest.approx(result.score)
    head = json.loads((options.output / "head.json").read_text())
    assert (head["task"], tuple(head["classes"]["names"])) == ("tag", NAMES)
    assert "token-classification" in (options.output / "README.md").read_text()


def test_entities_of_a_long_text_have_its_code_points(options: TagOptions) -> None:
    finetune_tag(options, quiet)
    tagger = TextTagger(str(options.output), Placement("cpu", "float32"))
    sentences = [join_words(words)[0] for words, _ in sample(40, 5)]
    alone = tagger.entities(sentences)
    [joined] = tagger.entities(["\n\u00e9\n".join(sentences)])
    text = "\n\u00e9\n".join(sentences)
    assert all(text[each.start : each.end] == each.text for each in joined)
    assert all(0 < each.score <= 1 for each in joined)
    found = {(each.start, each.type) for each in joined}
    begins = np.cumsum([0, *(len(each) + 3 for each in sentences)])
    wanted = {
        (int(begin) + each.start, each.type)
        for begin, some in zip(begins, alone, strict=False)
        for each in some
    }
    assert len(found & wanted) > 0.5 * len(wanted) > 10
    assert tagger.entities(["", " "]) == [[], []]


def test_the_command_reads_texts_with_spans(
    options: TagOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, spans = [], []
    for words, tags in sample(30, 0):
        text, places = join_words(words)
        texts.append(text)
        spans.append(
            [
                {"start": places[e.start, 0], "end": places[e.end - 1, 1], "type": e.type}
                for e in entities(tags)
            ]
        )
    # An entity without a word can't be learnt.
    texts[0] += "  "
    end = len(texts[0])
    spans[0].append({"start": end - 1, "end": end, "type": "place"})
    path = tmp_path / "spans.parquet"
    pq.write_table(pa.table({"text": texts, "entities": spans}), path)
    words = ["--model", str(options.model), "--data", str(path), "--spans-column", "entities"]
    words += ["--output", str(options.output), "--steps", "2", "--train", "lora"]
    found = printed(capsys, "finetune", "tag", *words)
    assert (found["steps"], found["rejected"]) == (2, {"white space alone": 1})
    assert json.loads((options.output / "head.json").read_text())["task"] == "tag"


def test_a_tagger_resumes_bit_for_bit_and_repairs_tags(
    options: TagOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(words, [tag.replace("B-", "I-") for tag in tags]) for words, tags in sample(60, 3)]
    rows.append((["river", "x" * 20_000], ["B-place", "O"]))
    data = write_rows(tmp_path / "broken.parquet", rows)
    broken = replace(
        options, data=(data,), dropout=0.1, steps=8, evaluate_every=3, validation=(data,)
    )
    lines: list[str] = []
    assert_resumes(finetune_tag, broken, monkeypatch, log=lines.append)
    count = sum(len(entities(tags)) for _, tags in rows) - 1
    assert any(f" {count} tags I-" in line for line in lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_weights": "balanced", "rate": 1e-3},
        {"augment": ("swap", "delete", "case", "synonym")},
    ],
)
def test_weights_of_tags_and_changed_texts_still_teach(
    options: TagOptions, plain: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    validation = (validation_of(tmp_path),)
    result = finetune_tag(replace(options, validation=validation, **changes), quiet)
    assert result.score > 0.6
    assert not same_weights(options.output, plain)


def test_a_training_on_changed_texts_resumes_bit_for_bit(
    options: TagOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(
        options, augment=("swap", "delete"), class_weights="balanced", steps=20, dropout=0.1
    )
    # So many steps are more than a pass.
    assert_resumes(finetune_tag, changed, monkeypatch, step=13)


@pytest.mark.parametrize(
    ("changes", "named"), [({"augment": ("turn",)}, "augment"), ({"class_weights": "x"}, "class")]
)
def test_unknown_ways_are_refused(options: TagOptions, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as caught:
        replace(options, **changes)
    assert caught.value.option.startswith(named)


def test_tags_of_the_validation_that_training_lacks_are_refused(
    options: TagOptions, tmp_path: Path
) -> None:
    other = write_rows(tmp_path / "other.parquet", [(["music", "river"], ["O", "B-planet"])])
    with raises(BadInput, "validation", other, "'B-planet'"):
        finetune_tag(replace(options, validation=(other,)), quiet)
    assert not options.output.exists()
    spans = pa.table({"text": ["river", None], "spans": [[], []]})
    kind = pa.list_(pa.struct({"start": pa.int64(), "end": pa.int64(), "type": pa.string()}))
    nulls = tmp_path / "nulls.parquet"
    pq.write_table(spans.set_column(1, "spans", pa.array([[], []], kind)), nulls)
    with raises(BadInput, "data", nulls, "row 1"):
        finetune_tag(replace(options, data=(nulls,), spans_column="spans"), quiet)


def test_a_type_of_one_row_is_learnt_wherever_the_row_falls(
    options: TagOptions, tmp_path: Path
) -> None:
    rows = [*sample(9, 0), (["music", "river"], ["O", "B-planet"])]
    few = replace(options, data=(write_rows(tmp_path / "few.parquet", rows),), held_out=0.5)
    for seed in range(3):
        changed = replace(few, seed=seed, steps=1, work=tmp_path / f"work-{seed}")
        finetune_tag(changed, quiet)
        head = json.loads((options.output / "head.json").read_text())
        assert "B-planet" in head["classes"]["names"]


def test_one_row_can_not_be_held_out(options: TagOptions, tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.parquet", [(["music", "river"], ["O", "B-place"])])
    with raises(BadInput, "data", one, "one row only"):
        finetune_tag(replace(options, data=(one,)), quiet)
