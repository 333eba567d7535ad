"""Fine-tuning of a tiny reranker: what it learns, writes, resumes and refuses."""

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
import torch
from safetensors.numpy import load_file

from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from pipeline.training.finetune_rerank import finetune_rerank
from pipeline.training.rerank_options import RerankOptions
from pipeline.training.store_mining import StoreSearch
from tests.support.commands import printed
from tests.support.head_training import assert_resumes, quiet
from tests.support.models import WORDS, make_model, make_pair_model
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.search.store import Store
from transforms.tasks.training_options import AUGMENTATIONS
from transforms.training.pairs import read_pairs

#: The word of all passages that answer a question.
SIGN = "river"
COUNT = 480


def write_pairs(folder: Path, count: int = COUNT) -> tuple[Path, Path]:
    """Write passages of random words; each third has the sign, and answers two questions."""
    dice = random.Random(4)
    others = [word for word in WORDS if word.isascii() and word != SIGN]
    bodies = [dice.sample(others, k=8) for _ in range(count)]
    asked = [
        (" ".join(dice.sample(body, 4)), [f"p{n}"])
        for n, body in enumerate(bodies)
        for _ in range(2)
        if n % 3 == 0
    ]
    texts = [" ".join([*body, SIGN] if n % 3 == 0 else body) for n, body in enumerate(bodies)]
    return write(folder, {f"p{n}": text for n, text in enumerate(texts)}, asked)


def write(
    folder: Path, passages: dict[str, str | None], asked: list[tuple[str | None, list[str]]]
) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "passages.parquet", folder / "questions.parquet"
    texts = pa.array(list(passages.values()), pa.string())
    pq.write_table(pa.table({"id": list(passages), "text": texts}), paths[0])
    questions = pa.array([question for question, _ in asked], pa.string())
    relevant = pa.array([ids for _, ids in asked], pa.list_(pa.string()))
    pq.write_table(pa.table({"question": questions, "relevant": relevant}), paths[1])
    return paths


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> RerankOptions:
    return RerankOptions(
        model=albert,
        pairs=(write_pairs(tmp_path / "pairs"),),
        output=tmp_path / "reranker",
        work=tmp_path / "work",
        steps=60,
        batch_tokens=512,
        evaluate_every=30,
        per_question=3,
        candidates=10,
        held_out=12,
        precision="float32",
    )


def embedded(options: RerankOptions, folder: Path, inputs: Path | None = None) -> str:
    """Embed the passages of the pairs, with a lexical index."""
    url = str(folder / "store")
    model = ModelOptions(str(make_model(folder / "encoder")), max_tokens=48)
    passages = str(options.pairs[0][0] if inputs is None else inputs)
    embed(EmbedOptions((passages,), url, model, placement=Placement("cpu", "float32")))
    return url


def plain_scores(folder: Path, question: str, passages: list[str]) -> list[float]:
    """What transformers gives for pairs, one at a time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for passage in passages:
        framed = tokenizer(question, passage, truncation="only_second", return_tensors="pt")
        with torch.inference_mode():
            found.append(float(network(**framed).logits[0, 0]))
    return found


@pytest.mark.parametrize("family", ["albert", "bert"])
def test_a_search_reranks_with_the_scores_of_plain_transformers(
    options: RerankOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    from sentence_transformers import CrossEncoder

    options = replace(options, model=make_model(tmp_path / family, family), steps=2)
    finetune_rerank(options, quiet)
    store = embedded(options, tmp_path)
    question = "stone music paper"
    words = ["search", store, question, "--rerank", "12", "-k", "12", "--dtype", "float32"]
    hits = printed(capsys, *words, "--reranker", str(options.output))
    scores = [hit["score"] for hit in hits]
    texts = [hit["text"] for hit in hits]
    assert len(hits) == 12
    assert scores == sorted(scores, reverse=True)
    assert plain_scores(options.output, question, texts) == pytest.approx(scores, abs=1e-4)
    model = CrossEncoder(str(options.output), activation_fn=torch.nn.Identity(), device="cpu")
    other = model.predict([(question, text) for text in texts])
    assert other.tolist() == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("negatives", ["bm25", "none"])
def test_a_reranker_learns(options: RerankOptions, negatives: str) -> None:
    lines: list[str] = []
    long = replace(options, negatives=negatives, steps=160, evaluate_every=80, held_out=40)
    result = finetune_rerank(long, lines.append)
    history = [
        json.loads(line) for line in (options.output / "history.jsonl").read_text().splitlines()
    ]
    assert [each["step"] for each in history] == [80, 160]
    chance = np.mean(1 / np.arange(1, 11))
    assert result.score == result.metrics["mrr@10"] > 1.5 * chance
    assert 0 < result.metrics["mined_mrr@10"] <= 1
    assert result.metrics["ndcg@10"] >= result.metrics["mrr@10"]
    head = json.loads((options.output / "head.json").read_text())
    assert (head["kind"], head["task"]) == ("network", "rerank")
    card = (options.output / "README.md").read_text()
    assert f"{result.metrics['mrr@10']:.4f}" in card
    assert "CrossEncoder" in card
    assert any(f"{result.metrics['mined_mrr@10']:.4f}" in line for line in lines)


def test_a_reranker_with_every_control_resumes_bit_for_bit(
    options: RerankOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = {"dropout": 0.2, "train": "lora", "lora_rank": 2, "passage_tokens": 12}
    broken = replace(options, steps=8, evaluate_every=3, augment=AUGMENTATIONS, **controls)
    assert_resumes(finetune_rerank, broken, monkeypatch)
    with raises(BadInput, "checkpoint", problem="per_question"):
        finetune_rerank(replace(broken, resume=True, per_question=2), quiet)


def test_the_head_alone_can_be_trained(options: RerankOptions) -> None:
    finetune_rerank(replace(options, train="head", steps=3), quiet)
    before = load_file(options.model / "model.safetensors")
    after = load_file(options.output / "model.safetensors")
    for name, weight in before.items():
        assert np.array_equal(after[f"albert.{name}"], weight), name


def test_candidates_come_from_the_searches_of_a_store(
    options: RerankOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = embedded(options, tmp_path)
    given = ["--model", str(options.model), "--pairs", *map(str, options.pairs[0])]
    given += ["--output", str(options.output), "--steps", "2", "--held-out", "1000"]
    given += ["--candidates", "10", "--store", url, "--mode", "lexical", "--per-question", "2"]
    found = printed(capsys, "finetune", "rerank", *given)
    assert (found["steps"], found["output"]) == (2, str(options.output))
    settings = (options.output / "README.md").read_text()
    assert "| negatives | store |" in settings
    assert 0 < found["metrics"]["mined_mrr@10"] <= 1


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_candidates_are_the_hits_of_a_search(
    options: RerankOptions, tmp_path: Path, mode: str
) -> None:
    url = embedded(options, tmp_path)
    pairs = read_pairs(*options.pairs[0])
    asked = np.asarray([3, 0, 70])
    found = StoreSearch(url, mode, "cpu", 7, quiet).find(pairs, asked)
    names = list(pairs.numbers)
    hits = Store.open(url).search([pairs.questions[n] for n in asked], 7, mode)
    for ranked, own in zip(found.ranked, hits, strict=True):
        assert [names[found.owners[text]] for text in ranked] == [hit.document_id for hit in own]
        assert [found.texts[text] for text in ranked] == [hit.text for hit in own]


def test_a_store_is_searched_in_windows(options: RerankOptions, tmp_path: Path) -> None:
    """What is reranked later are the store's passages, so these are the texts of the training."""
    body = {"a": "river " + "stone " * 300 + "music", "b": "garden winter", "c": "market paper"}
    asked = [("music", ["a"]), ("winter", ["b"]), ("paper", ["c"]), ("river", ["a"])]
    pairs = write(tmp_path / "long", body, asked)
    long = replace(options, pairs=(pairs,), steps=1)
    url = embedded(long, tmp_path)
    assert Store.open(url).rows > 5
    result = finetune_rerank(replace(long, store=url), quiet)
    assert result.steps == 1


def test_a_store_of_other_passages_is_refused(options: RerankOptions, tmp_path: Path) -> None:
    others, _ = write(tmp_path / "others", {"x": "river stone", "y": "music garden"}, [])
    url = embedded(options, tmp_path, others)
    with raises(BadInput, "store", url, f"none of the {COUNT} passages"):
        finetune_rerank(replace(options, store=url), quiet)
    with raises(BadInput, "store"):
        finetune_rerank(replace(options, store=str(tmp_path / "nothing")), quiet)


def test_a_text_of_100_000_characters_is_cut(options: RerankOptions, tmp_path: Path) -> None:
    long = "river " + "stone " * 20_000
    assert len(long) > 100_000
    body = {"a": long, "b": "music garden", "c": "winter paper", "d": ""}
    asked = [(long, ["b"]), ("garden", ["b"]), ("paper", ["c"]), ("river", ["a"]), (" ", ["c"])]
    pairs = write(tmp_path / "long", body, asked)
    result = finetune_rerank(replace(options, pairs=(pairs,), steps=1), quiet)
    assert result.steps == 1


@pytest.mark.parametrize("head", ["rank", "read"])
def test_a_head_of_another_kind_is_replaced(
    options: RerankOptions, tmp_path: Path, head: str
) -> None:
    model = make_pair_model(tmp_path / "other", head, 3 if head == "rank" else 2)
    finetune_rerank(replace(options, model=model, steps=1), quiet)
    config = json.loads((options.output / "config.json").read_text())
    assert config["architectures"] == ["AlbertForSequenceClassification"]
    assert list(config["id2label"]) == ["0"]


def test_a_reranker_is_trained_further(options: RerankOptions, tmp_path: Path) -> None:
    model = make_pair_model(tmp_path / "ranker", "rank")
    finetune_rerank(replace(options, model=model, steps=1, rate=1e-12), quiet)
    before = load_file(model / "model.safetensors")["classifier.weight"]
    after = load_file(options.output / "model.safetensors")["classifier.weight"]
    assert np.allclose(before, after, atol=1e-6)


@pytest.mark.parametrize(
    ("passages", "asked", "option", "problem"),
    [
        ({"a": "x", "b": "y"}, [("x", ["a"]), ("y", ["z"])], "pairs", "z"),
        ({"a": "x", "b": None}, [("x", ["a"]), ("y", ["b"])], "pairs", "row 1"),
        ({"a": "x", "b": "y"}, [("x", ["a"]), (None, ["b"])], "pairs", "row 1"),
        # Every passage answers, and an equal text counts as an answer.
        ({"a": "River", "b": "river "}, [("x", ["a"]), ("y", ["a"])], "pairs", "no question"),
        (
            {"a": "river", "b": "stone", "c": "winter"},
            [("music", ["a"]), ("xyz", ["b"])],
            "negatives",
            "no passage",
        ),
    ],
)
def test_pairs_that_cant_be_learnt_are_refused(
    options: RerankOptions,
    tmp_path: Path,
    passages: dict[str, str | None],
    asked: list[tuple[str | None, list[str]]],
    option: str,
    problem: str,
) -> None:
    pairs = write(tmp_path / "bad", passages, asked)
    with raises(BadInput, option, problem=problem):
        finetune_rerank(replace(options, pairs=(pairs,)), quiet)


def test_what_cant_be_trained_is_refused(options: RerankOptions, tmp_path: Path) -> None:
    with raises(BadInput, "model"):
        finetune_rerank(replace(options, model=tmp_path / "none"), quiet)
    with raises(BadInput, "model", problem="distilbert"):
        model = make_model(tmp_path / "distilbert", "distilbert")
        finetune_rerank(replace(options, model=model), quiet)
    with raises(BadInput, "max_tokens", 129, "128"):
        finetune_rerank(replace(options, max_tokens=129), quiet)
    with raises(BadInput, "passage_tokens", 129, "128"):
        finetune_rerank(replace(options, passage_tokens=129), quiet)
    with raises(BadInput, "pairs"):
        missing = tmp_path / "none.parquet"
        finetune_rerank(replace(options, pairs=((missing, missing),)), quiet)
    with raises(BadInput, "output"):
        finetune_rerank(replace(options, output=tmp_path), quiet)


def test_one_negative_is_a_hard_one() -> None:
    folders: dict[str, Any] = {"model": Path("m"), "output": Path("o"), "work": Path("w")}
    options = RerankOptions(pairs=(), **folders)
    for count, easy, hard in ((1, 0.9, 1), (4, 0.5, 2), (4, 0.0, 4)):
        assert replace(options, per_question=count, easy=easy).hard == hard
    assert replace(options, negatives="none").hard == 0


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"negatives": "some"}, "negatives"),
        ({"negatives": "store"}, "negatives"),
        ({"mode": "dense"}, "mode"),
        ({"mode": "some", "store": "s"}, "mode"),
        ({"per_question": 0}, "per_question"),
        ({"easy": 1.0}, "easy"),
        ({"easy": -0.1}, "easy"),
        ({"candidates": 1}, "candidates"),
        ({"max_tokens": 4}, "max_tokens"),
    ],
)
def test_options_are_checked(change: dict[str, Any], option: str) -> None:
    good = RerankOptions(model=Path("m"), pairs=(), output=Path("o"), work=Path("w"))
    with raises(BadInput, option):
        replace(good, **change)
    with raises(BadInput, "output"):
        replace(good, output=Path("m"))
