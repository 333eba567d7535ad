"""Rerankers and readers: the scores of plain transformers, one pair at a time."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from pipeline.cli import main
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from tests.support.models import make_pair_model, make_texts, write_corpus
from transforms.encoder.answer_spans import window_overlap
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.search.reader import Answer, Reader, best_answer, read_answers
from transforms.search.reranker import Reranker, rerank
from transforms.search.results import Hit

EXACT = Placement("cpu", "float32")
QUESTIONS = make_texts(12, seed=3, longest=6)
PASSAGES = make_texts(12, seed=4, longest=40)
PAIRS = list(zip(QUESTIONS, PASSAGES, strict=True))


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pair_model(tmp_path_factory.mktemp("ranker") / "m", "rank")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pair_model(tmp_path_factory.mktemp("reader") / "m", "read", 2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, texts: list[str], albert: Path) -> str:
    folder = tmp_path_factory.mktemp("reading")
    corpus = write_corpus(folder / "corpus", list(texts[:40]))
    url = str(folder / "store")
    model = ModelOptions(str(albert), max_tokens=48)
    embed(EmbedOptions((str(corpus),), url, model, placement=EXACT))
    return url


def hits(*passages: str) -> list[Hit]:
    return [Hit(n, 1 / n, f"d{n}", 0, 0, len(p), p, {}) for n, p in enumerate(passages, 1)]


def with_weights(folder: Path, copy: Path, beginning: str, value: float) -> str:
    """Copy a model, and fill the weights whose names have a beginning."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    for name in weights:
        if name.startswith(beginning):
            weights[name][:] = value
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    return str(copy)


def plain(folder: Path, kind: type, question: str, passage: str) -> tuple[object, object]:
    """What the unmodified network gives for one pair, and the tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    framed = tokenizer(
        question, passage, truncation="only_second", max_length=128, return_tensors="pt",
        return_offsets_mapping=True,
    )  # fmt: skip
    offsets = framed.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        return kind.from_pretrained(folder).eval()(**framed), (framed.sequence_ids(0), offsets)


@pytest.mark.parametrize("labels", [1, 2])
def test_scores_are_those_of_plain_transformers_one_pair_at_a_time(
    tmp_path: Path, labels: int
) -> None:
    folder = make_pair_model(tmp_path / "m", "rank", labels)
    scores = Reranker(str(folder), EXACT).scores(PAIRS)
    assert scores.dtype == np.float32
    for score, (question, passage) in zip(scores, PAIRS, strict=True):
        output, _ = plain(folder, AlbertForSequenceClassification, question, passage)
        logits = output.logits[0]
        expected = logits[0] if labels == 1 else logits[1] - logits[0]
        assert score == pytest.approx(float(expected), abs=1e-4)
    assert np.ptp(scores) > 0.01
    close = Reranker(str(folder), Placement("cpu", "bfloat16")).scores(PAIRS)
    assert np.abs(close - scores).max() < 0.1 * np.ptp(scores) + 0.05
    assert len(set(close.tolist())) == len(close)


def test_hits_are_ordered_by_the_model_and_numbered_anew(ranker: Path) -> None:
    model = Reranker(str(ranker), EXACT)
    found = rerank(hits(*PASSAGES), QUESTIONS[0], model)
    scores = model.scores([(QUESTIONS[0], passage) for passage in PASSAGES])
    assert [hit.rank for hit in found] == list(range(1, 13))
    assert [hit.text for hit in found] == [PASSAGES[n] for n in np.argsort(-scores)]
    assert [hit.score for hit in found] == pytest.approx(sorted(scores, reverse=True))
    assert rerank([], "x", model) == []
    # Equal scores keep the order that they came in.
    assert [hit.document_id for hit in rerank(hits("a", "a"), "x", model)] == ["d1", "d2"]


def test_the_best_span_is_the_one_of_brute_force_and_lies_where_it_says(reader: Path) -> None:
    for (question, passage), answer in zip(
        PAIRS, Reader(str(reader), EXACT).spans(PAIRS), strict=True
    ):
        output, (sequences, offsets) = plain(reader, AlbertForQuestionAnswering, question, passage)
        start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
        inside = [place for place, number in enumerate(sequences) if number == 1]
        score, first, last = max(
            (start[a] + end[b], a, b) for a in inside for b in inside if a <= b < a + 30
        )
        assert answer is not None
        assert answer.score == pytest.approx(score, abs=1e-4)
        expected = passage[offsets[first][0] : offsets[last][1]]
        assert answer.text == passage[answer.start : answer.end] == expected.strip()


def test_a_long_passage_is_read_to_its_end(reader: Path) -> None:
    model = Reader(str(reader), EXACT)
    words = [f"{word} {n}" for n, word in enumerate(make_texts(150, seed=9, longest=1))]
    passage = "  " + " ".join(words) + " "
    [answer] = model.spans([("river stone?", passage)])
    assert answer is not None
    assert answer.text == passage[answer.start : answer.end] == answer.text.strip()
    # What a window alone would find is never better than what all of them find.
    for start in range(2, len(passage) - 100, 400):
        [part] = model.spans([("river stone?", passage[start : start + 60])])
        assert part is not None
    overlap = window_overlap(model.model.limit, model.model.special)
    framed, _ = model.read([("river stone?", passage)], overlap)
    covered = {
        letter
        for encoding in framed.encodings
        for number, (a, b) in zip(encoding.sequence_ids, encoding.offsets, strict=True)
        if number == 1
        for letter in range(a, b)
    }
    assert {n for n, letter in enumerate(passage) if letter != " "} <= covered
    assert len(framed.encodings) > 3
    assert all(len(encoding.ids) <= 128 for encoding in framed.encodings)


def test_a_question_of_any_length_leaves_room_for_the_passage(ranker: Path, reader: Path) -> None:
    question = "river stone " * 5_000
    assert Reranker(str(ranker), EXACT).scores([(question, "window " * 500)]).shape == (1,)
    [answer] = Reader(str(reader), EXACT).spans([(question, "window " * 500)])
    assert answer is not None


def test_no_answer_is_given_where_the_first_token_scores_higher(
    tmp_path: Path, reader: Path
) -> None:
    model = Reader(str(reader), EXACT)
    spans, maybe = model.spans(PAIRS), model.spans(PAIRS, no_answer=True)
    for (question, passage), span, answer in zip(PAIRS, spans, maybe, strict=True):
        output, _ = plain(reader, AlbertForQuestionAnswering, question, passage)
        null = float(output.start_logits[0, 0] + output.end_logits[0, 0])
        assert span is not None
        assert span.no_answer == pytest.approx(null, abs=1e-4)
        assert answer == (span if span.score >= null else None)
    assert model.spans([("river?", " ")]) == [None]
    assert model.spans([]) == []
    equal = with_weights(reader, tmp_path / "equal", "qa_outputs.", 0.0)
    # Equal scores are an answer.
    assert None not in Reader(equal, EXACT).spans(PAIRS, no_answer=True)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_other_families_score_and_answer_as_plain_transformers_do(
    tmp_path: Path, family: str
) -> None:
    ranking = make_pair_model(tmp_path / "rank", "rank", family=family)
    scores = Reranker(str(ranking), EXACT).scores(PAIRS)
    for score, pair in zip(scores, PAIRS, strict=True):
        output, _ = plain(ranking, AutoModelForSequenceClassification, *pair)
        assert score == pytest.approx(float(output.logits[0, 0]), abs=1e-4)
    reading = make_pair_model(tmp_path / "read", "read", 2, family=family)
    for pair, answer in zip(PAIRS, Reader(str(reading), EXACT).spans(PAIRS), strict=True):
        output, (sequences, _) = plain(reading, AutoModelForQuestionAnswering, *pair)
        start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
        inside = [place for place, number in enumerate(sequences) if number == 1]
        best = max(start[a] + end[b] for a in inside for b in inside if a <= b < a + 30)
        assert answer is not None
        assert answer.score == pytest.approx(best, abs=1e-4)


def test_tokens_that_a_model_lacks_are_named(tmp_path: Path, reader: Path) -> None:
    def without(token: str) -> str:
        folder = shutil.copytree(reader, tmp_path / token)
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if (folder / name).exists():
                value = json.loads((folder / name).read_text())
                value.pop(token, None)
                (folder / name).write_text(json.dumps(value))
        return str(folder)

    folder = without("pad_token")
    with pytest.raises(BadInput) as caught:
        Reader(folder, EXACT)
    assert (caught.value.option, caught.value.value) == ("reader", folder)
    assert "no padding token" in caught.value.problem
    model = Reader(without("cls_token"), EXACT)
    assert None not in model.spans(PAIRS)
    with pytest.raises(BadInput) as caught:
        model.spans(PAIRS, no_answer=True)
    assert (caught.value.option, caught.value.value) == ("reader", model.name)


def test_the_best_answer_of_several_hits(reader: Path) -> None:
    found = read_answers(hits(*PASSAGES), QUESTIONS[0], Reader(str(reader), EXACT))
    place = best_answer(found)
    assert place is not None
    assert found[place].score == max(answer.score for answer in found)
    assert best_answer([None, Answer("x", -1.0, 0, 1), None]) == 1
    assert best_answer([None]) is None


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ("classify", "is a classifier, which reads one text at a time"),
        ("tag", "is a tagger, which finds entities in one text at a time"),
        ("other", "is a network for the task 'other'"),
    ],
)
def test_networks_that_albeam_trained_for_another_task_are_refused(
    tmp_path: Path, ranker: Path, reader: Path, task: str, problem: str
) -> None:
    for model, source in ((Reranker, ranker), (Reader, reader)):
        folder = shutil.copytree(source, tmp_path / model.__name__)
        (folder / "head.json").write_text(json.dumps({"task": task}))
        with pytest.raises(BadInput) as caught:
            model(str(folder), EXACT)
        assert (caught.value.option, caught.value.value) == (model.option, str(folder))
        assert caught.value.problem == problem
        assert f"albeam finetune {model.task}" in caught.value.remedy
        (folder / "head.json").write_text(json.dumps({"task": model.task}))
        model(str(folder), EXACT)


def test_models_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, albert: Path, ranker: Path, reader: Path
) -> None:
    def refused(model: type[Reader | Reranker], folder: Path) -> str:
        with pytest.raises(BadInput) as caught:
            model(str(folder), EXACT)
        assert caught.value.option == model.option
        assert caught.value.value == str(folder)
        return caught.value.problem

    problem = refused(Reranker, albert)
    assert "was not saved as AutoModelForSequenceClassification" in problem
    problem = refused(Reader, ranker)
    assert "AutoModelForQuestionAnswering: 2 weights are missing, such as 'qa_" in problem
    three = make_pair_model(tmp_path / "three", "rank", 3)
    assert refused(Reranker, three) == "has 3 labels"
    assert refused(Reranker, tmp_path / "gone") == "is not a folder"
    other = shutil.copytree(ranker, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"vocab_size": 900}))
    assert refused(Reranker, other).startswith("has 900 word vectors")
    pickled = shutil.copytree(reader, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "pickled weights are never loaded" in refused(Reader, pickled)
    torn = shutil.copytree(reader, tmp_path / "torn")
    weights = (torn / "model.safetensors").read_bytes()
    for content in (weights[:5_000], b"no weights"):
        (torn / "model.safetensors").write_bytes(content)
        assert "can't be read" in refused(Reader, torn)
    broken = shutil.copytree(reader, tmp_path / "broken")
    (broken / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    problem = refused(Reader, broken)
    assert "can't be loaded as AutoModelForQuestionAnswering" in problem
    model = Reranker(with_weights(ranker, tmp_path / "nan", "classifier.bias", np.nan), EXACT)
    with pytest.raises(BadInput) as caught:
        model.scores(PAIRS)
    assert "not finite in float32" in caught.value.problem


def test_search_reranks_and_answers(
    store: str, ranker: Path, reader: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", store, "river stone", "--dtype", "float32"]
    assert main([*command, "-k", "8", "--json"]) == 0
    candidates = json.loads(capsys.readouterr().out)
    reading = ["--rerank", "8", "--reranker", str(ranker), "--reader", str(reader)]
    assert main([*command, "-k", "3", *reading, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = Reranker(str(ranker), EXACT).scores([("river stone", c["text"]) for c in candidates])
    best = np.argsort(-scores)[:3]
    assert [hit["document_id"] for hit in found] == [candidates[n]["document_id"] for n in best]
    assert [hit["rank"] for hit in found] == [1, 2, 3]
    assert list(found[0])[:-1] == list(candidates[0])
    for hit in found:
        answer = hit["answer"]
        assert list(answer) == ["text", "score", "start", "end", "no_answer", "probability"]
        assert answer["text"] == hit["text"][answer["start"] : answer["end"]]
    assert main([*command, "-k", "3", *reading]) == 0
    printed = capsys.readouterr().out
    first = max(found, key=lambda hit: hit["answer"]["score"])
    assert printed.startswith(f"answer: {first['answer']['text']}  (")
    assert main([*command, "-k", "9", *reading[:4], "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 8


def test_a_run_is_reranked_and_read_as_one_by_one(
    store: str,
    texts: list[str],
    ranker: Path,
    reader: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = [" ".join(text.split()[:3]) for text in texts[:5]]
    questions, output = tmp_path / "q.parquet", tmp_path / "run.parquet"
    pq.write_table(pa.table({"question": asked}), questions, row_group_size=2)
    common = ["search", store, "--questions", str(questions), "--dtype", "float32", "-k", "3"]
    reading = ["--rerank", "6", "--reranker", str(ranker)]
    for more in (["--reader", str(reader)], ["--offset", "2"]):
        assert main([*common, *reading, *more, "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert main([*common, *reading, *more, "--output", str(output), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"] == 15
        rows = pq.read_table(output).to_pylist()
        hits = [(str(n), hit) for n, line in enumerate(lines) for hit in line]
        keys = ("rank", "document_id", "passage")
        assert [row["question_id"] for row in rows] == [name for name, _ in hits]
        assert [[row[key] for key in keys] for row in rows] == [
            [hit[key] for key in keys] for _, hit in hits
        ]
        for row, (_, hit) in zip(rows, hits, strict=True):
            assert row["score"] == pytest.approx(hit["score"], abs=1e-4)
            if "--reader" in more:
                answer = hit["answer"]
                assert row["answer"] == answer["text"]
                places = row["start"] - hit["start"], row["end"] - hit["start"]
                assert places == (answer["start"], answer["end"])
                assert row["answer_score"] == pytest.approx(answer["score"], abs=1e-4)
            else:
                assert "answer" not in row
    # A model that can't be used is reported before the job starts.
    output.unlink()
    assert main([*common, "--reader", str(tmp_path / "none"), "--output", str(output)]) == 2
    assert "--reader" in capsys.readouterr().err
    assert not output.exists()


def test_evaluate_prints_exact_match_and_f1(
    store: str,
    texts: list[str],
    ranker: Path,
    reader: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from transforms.evaluation.squad import exact_match, f1

    rows = [
        {
            "question_id": f"q{n}", "question": " ".join(texts[n].split()[:3]),
            "relevant": [f"doc-{n:05d}"], "answers": texts[n].split()[:2],
        }
        for n in range(10)
    ]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["evaluate", store, str(tmp_path / "q.jsonl"), "--dtype", "float32", "--json"]
    reading = ["--rerank", "20", "--reranker", str(ranker), "--reader", str(reader)]
    per = ["--per-question", str(tmp_path / "per.parquet")]
    assert main([*command, *reading, *per]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    names = ["success@1", "success@5", "success@20", "mrr@10", "ndcg@10", "exact_match", "f1"]
    assert list(metrics) == names
    table = pq.read_table(tmp_path / "per.parquet").to_pylist()
    for name, rule in (("exact_match", exact_match), ("f1", f1)):
        values = [rule(got["answer"], row["answers"]) for got, row in zip(table, rows, strict=True)]
        assert metrics[name] == pytest.approx(np.mean(values))
        assert [row[name] for row in table] == pytest.approx(values)
    assert all(row["answer"] for row in table)
    report = ["--report", str(tmp_path / "r.html"), "--modes", "all"]
    capsys.readouterr()
    assert main([*command, *reading, *report]) == 0
    for latency in json.loads(capsys.readouterr().out)["latency"].values():
        assert list(latency)[-4:] == ["fetch", "rerank", "read", "total"]
        parts = latency["rerank"]["p50"] + latency["read"]["p50"]
        assert 0 < parts < 2 * latency["total"]["p95"]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for said in ("Exact match", f"{ranker}, 20 candidates", f"{reader}, 5 hits"):
        assert said in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "{store}", "x", "--rerank", "5"], "--rerank 5: needs --reranker"),
        (["search", "{store}", "x", "--reranker", "m"], "--reranker m: needs --rerank"),
        (
            ["search", "{store}", "x", "--rerank", "0", "--reranker", "m"],
            "--rerank 0: must be at least 1",
        ),
        (["search", "{store}", "x", "--no-answer"], "--no-answer: needs --reader"),
        (["search", "{store}", "x", "--reader", "/gone/m"], "--reader /gone/m: "),
        (
            ["search", "{store}", "--questions", "q", "--output", "o.parquet", "--reader", "/no/m"],
            "--reader /no/m: ",
        ),
        (["evaluate", "{store}", "{tmp}/q.jsonl", "--reader", "m"], "row 1"),
        (
            ["evaluate", "{store}", "{tmp}/q.jsonl", "--rerank", "5", "--reranker", "{tmp}"],
            "has no config.json",
        ),
        (
            ["evaluate", "{store}", "{tmp}/q.jsonl", "--rerank", "5", "--reranker", "{albert}"],
            "was not saved as AutoModelForSequenceClassification",
        ),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    store: str,
    albert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"question_id": "q", "question": "x", "relevant": ["a"]}
    lines = [json.dumps(row | {"answers": []}), json.dumps(row | {"question_id": "r"})]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    given = [argument.format(store=store, tmp=tmp_path, albert=albert) for argument in arguments]
    assert main(given) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed
    assert len(printed.splitlines()) == 1


class Small:
    """A network that has memory for few rows."""

    def __init__(self, network: Any, most: int, error: Exception) -> None:
        self.network, self.most, self.error = network, most, error
        self.sizes: list[int] = []

    def __call__(self, **given: Any) -> Any:
        rows = len(given["input_ids"])
        self.sizes.append(rows)
        if rows > self.most:
            raise self.error
        return self.network(**given)


def test_a_batch_without_memory_is_halved(ranker: Path) -> None:
    model = Reranker(str(ranker), EXACT)
    expected, pairs = model.scores(PAIRS), model.full()
    pairs.network = small = Small(pairs.network, 1, torch.OutOfMemoryError("CUDA out of memory"))
    np.testing.assert_allclose(model.scores(PAIRS), expected, atol=1e-5)
    assert max(small.sizes) == len(PAIRS)
    assert small.sizes.count(1) == len(PAIRS)
    pairs.network = Small(small.network, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        model.scores(PAIRS)
    pairs.network = broken = Small(small.network, 0, RuntimeError("CUDA error: illegal access"))
    with pytest.raises(RuntimeError, match="illegal"):
        model.scores(PAIRS)
    assert len(broken.sizes) == 1
