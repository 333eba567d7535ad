"""Pretraining of a tiny network: what it learns, writes, resumes and refuses."""

from __future__ import annotations

import json
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AlbertForPreTraining

from pipeline.cli import main
from pipeline.training.finetune import finetune
from pipeline.training.options import FinetuneOptions, PretrainOptions
from pipeline.training.pretrain import pretrain
from tests.support.models import make_model
from tests.support.raising import raises
from tests.support.training import SHAPE, WORDS, kill_at, record_history, write_pairs
from transforms.errors import BadInput
from transforms.training.options import StudentShape
from transforms.training.trainer import Trainer

#: Runs of words that follow each other in every story.
CHAINS = [WORDS[place : place + 5] for place in range(0, 30, 5)]


def stories(count: int, seed: int = 5) -> list[str]:
    """Return different stories of two sentences."""
    dice = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        one, other = (" ".join(dice.choice(CHAINS)) for _ in range(2))
        found[f"First {one}. Then {other} {dice.choice(WORDS[:30])}."] = None
    return list(found)


@pytest.fixture
def options(tmp_path: Path) -> PretrainOptions:
    texts = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": stories(300)}), texts)
    return PretrainOptions(
        texts=(texts,),
        output=tmp_path / "model",
        work=tmp_path / "work",
        shape=replace(SHAPE, layers=2, vocab_size=56),
        max_tokens=48,
        batch_tokens=768,
        steps=12,
        held_out=40,
        rate=1e-2,
        precision="float32",
        evaluate_every=6,
    )


def same_weights(one: Path, other: Path) -> bool:
    left, right = (load_file(model / "model.safetensors") for model in (one, other))
    return left.keys() == right.keys() and all(
        np.array_equal(left[name], right[name]) for name in left
    )


def load(folder: Path) -> Any:
    """Load a model as transformers does, without any key that is missing or left over."""
    model, info = AlbertForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model


def test_pretrain_learns_and_writes_a_loadable_model(
    options: PretrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = record_history(monkeypatch)
    result = pretrain(replace(options, steps=100, evaluate_every=50, rate=2e-2))
    assert seen[0]["step"] == 0
    assert seen[-1]["masked_loss"] < 0.95 * seen[1]["masked_loss"]
    best = next(each for each in seen if each["step"] == result.best_step)
    assert result.score == max(each["score"] for each in seen)
    assert result.perplexity == best["perplexity"] < 0.7 * seen[0]["perplexity"]
    assert result.masked_accuracy == best["masked_accuracy"] > 1.5 * result.unigram_accuracy
    assert result.first_accuracy == seen[0]["masked_accuracy"]
    assert result.order_accuracy == best["order_accuracy"]
    lines = (options.output / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == seen
    assert (options.output / "pretrain.svg").is_file()
    card = (options.output / "README.md").read_text()
    assert f"{result.masked_accuracy:.4f}" in card
    assert "| masking | ngram |" in card

    load(options.output)


@pytest.mark.parametrize("masking", ["whole-word", "token"])
@pytest.mark.parametrize("sentence", ["nsp", "none"])
def test_other_maskings_and_sentences(
    options: PretrainOptions, masking: str, sentence: str
) -> None:
    result = pretrain(replace(options, masking=masking, sentence=sentence))
    assert (result.order_accuracy is None) == (sentence == "none")
    load(options.output)


@pytest.mark.parametrize("train", ["all", "lora"])
def test_a_pretraining_resumes_bit_for_bit(
    options: PretrainOptions, train: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many steps that the resumed training begins in another pass than the first one.
    broken = replace(options, steps=20, dropout=0.1, train=train)
    whole = replace(broken, output=tmp_path / "whole", work=tmp_path / "whole.work")
    expected = pretrain(whole)
    revive = kill_at(monkeypatch, 16)
    with pytest.raises(KeyboardInterrupt):
        pretrain(broken)
    revive()
    again = pretrain(replace(broken, resume=True))
    assert same_weights(whole.output, broken.output)
    assert (again.score, again.first_accuracy) == (expected.score, expected.first_accuracy)
    with raises(BadInput, "checkpoint", problem="masking ngram, not token"):
        pretrain(replace(broken, resume=True, masking="token"))


def test_an_interrupt_waits_for_a_checkpoint(
    options: PretrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_finite = Trainer.check_finite

    def interrupted(self: Trainer, loss: float, norm: float) -> None:
        check_finite(self, loss, norm)
        if self.state.step == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Trainer, "check_finite", interrupted)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt):
            pretrain(options)
    finally:
        signal.signal(signal.SIGTERM, before)
    saved = torch.load(options.work / "checkpoint.pt", weights_only=True)
    assert json.loads(saved["state"])["step"] == 4
    assert not options.output.exists()
    monkeypatch.setattr(Trainer, "check_finite", check_finite)
    assert pretrain(replace(options, resume=True)).steps == options.steps


def start_options(options: PretrainOptions, start: Path) -> PretrainOptions:
    return replace(options, model=start, shape=StudentShape())


def test_a_model_is_adapted_to_texts(options: PretrainOptions, tmp_path: Path) -> None:
    first = pretrain(replace(options, steps=60))
    elsewhere = replace(options, output=tmp_path / "more", work=tmp_path / "w")
    more = start_options(elsewhere, options.output)
    second = pretrain(replace(more, steps=30))
    # The heads are the start's, so the training begins where the first one ended.
    assert second.first_accuracy == pytest.approx(first.masked_accuracy, abs=0.02)
    assert second.perplexity < first.perplexity
    assert (more.output / "tokenizer.json").read_bytes() == (
        options.output / "tokenizer.json"
    ).read_bytes()
    load(more.output)


def test_the_result_may_stay_near_the_start(options: PretrainOptions, tmp_path: Path) -> None:
    start = make_model(tmp_path / "start")
    whole = replace(start_options(options, start), dropout=0.3)
    far = pretrain(replace(whole, output=tmp_path / "far", work=tmp_path / "w"))
    near = pretrain(replace(whole, average=0.25))
    first, last, mixed = (
        load_file(folder / "model.safetensors")
        for folder in (start, tmp_path / "far", options.output)
    )
    for name, array in first.items():
        expected = 0.25 * last[f"albert.{name}"].astype(np.float32) + 0.75 * array
        np.testing.assert_allclose(mixed[f"albert.{name}"], expected, atol=2e-3, err_msg=name)
    assert np.array_equal(mixed["predictions.bias"], last["predictions.bias"])
    # The metrics are those of the mixed weights, without dropout.
    again = replace(whole, model=options.output, output=tmp_path / "again", work=tmp_path / "v")
    assert pretrain(again).first_accuracy == near.masked_accuracy != far.masked_accuracy


def test_a_start_may_lack_the_heads(
    options: PretrainOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = record_history(monkeypatch)
    start = make_model(tmp_path / "start")
    # Long word vectors: their products with the states of a new head would be far from any word.
    weights = load_file(start / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] *= 30
    save_file(weights, start / "model.safetensors", metadata={"format": "pt"})
    result = pretrain(replace(start_options(options, start), steps=40))
    assert result.masked_accuracy > result.first_accuracy
    assert seen[0]["perplexity"] < len(weights["embeddings.word_embeddings.weight"])
    load(options.output)
    before = load_file(start / "model.safetensors")
    after = load_file(options.output / "model.safetensors")
    assert {f"albert.{name}" for name in before} <= after.keys()


def test_the_head_alone_can_be_trained(options: PretrainOptions, tmp_path: Path) -> None:
    start = make_model(tmp_path / "start")
    pretrain(replace(start_options(options, start), train="head"))
    before = load_file(start / "model.safetensors")
    after = load_file(options.output / "model.safetensors")
    for name, array in before.items():
        assert np.array_equal(array.astype(np.float16), after[f"albert.{name}"]), name


def test_albeam_uses_what_it_pretrained(
    options: PretrainOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "--vocab-size 56 --layers 2 --hidden 32 --heads 4 --intermediate 64 --embedding 16"
    arguments = ["--texts", str(options.texts[0]), "--output", str(options.output), *sizes.split()]
    arguments += ["--positions", "64", "--max-tokens", "48", "--held-out", "40", "--steps", "5"]
    main(["pretrain", *arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["steps"] == 5
    assert printed["output"] == str(options.output)
    corpus, store = tmp_path / "corpus.parquet", tmp_path / "store"
    pq.write_table(pa.table({"id": ["a", "b"], "text": stories(2)}), corpus)
    main(["embed", str(corpus), "--store", str(store), "--model", str(options.output)])
    capsys.readouterr()
    main(["search", str(store), "river stone", "--json"])
    assert {hit["document_id"] for hit in json.loads(capsys.readouterr().out)} == {"a", "b"}
    tuned = finetune(
        FinetuneOptions(
            model=options.output,
            pairs=(write_pairs(tmp_path / "pairs"),),
            output=tmp_path / "tuned",
            work=tmp_path / "tuned.work",
            negatives="none",
            steps=2,
        ),
        lambda _: None,
    )
    assert tuned.steps == 2


def test_what_does_not_fit_is_refused(options: PretrainOptions, tmp_path: Path) -> None:
    with raises(BadInput, "texts", problem="too few with 200 held out"):
        pretrain(replace(options, held_out=200))
    start = make_model(tmp_path / "start")
    with raises(BadInput, "model", start, "has its own shape"):
        replace(options, model=start)
    with raises(BadInput, "max_tokens", 49):
        replace(options, shape=replace(SHAPE, positions=48), max_tokens=49)
    with raises(BadInput, "average", 0.5, "weights of a model"):
        replace(options, average=0.5)
    further = start_options(options, start)
    with raises(BadInput, "max_tokens", 200, "128 positions"):
        pretrain(replace(further, max_tokens=200))
    with raises(BadInput, "model", make_model(tmp_path / "bert", "bert"), "of type bert"):
        pretrain(replace(further, model=tmp_path / "bert"))
    with raises(BadInput, "vocab_size", 30):
        pretrain(replace(options, shape=replace(options.shape, vocab_size=30)))
    words = tmp_path / "words.parquet"
    pq.write_table(pa.table({"text": [f"w{n}" for n in range(100)]}), words)
    with raises(BadInput, "texts", problem="two words"):
        pretrain(replace(further, texts=(words,)))
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(
        json.dumps(config | {"num_hidden_layers": 9, "num_hidden_groups": 9})
    )
    with raises(BadInput, "model", start):
        pretrain(further)
