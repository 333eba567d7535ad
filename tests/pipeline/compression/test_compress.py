"""``albeam compress`` on tiny models: what it writes, prints, recovers, resumes and refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModel

from deploy.docs.json_reference import keys_of
from pipeline.cli import main
from pipeline.compression.compress import compress
from pipeline.compression.options import CompressOptions
from tests.support.models import make_model, make_pair_model, make_texts
from tests.support.training import kill_at
from transforms.compression.options import Pruning
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.training.export import write_json

HALF = Pruning(prune_inner=0.5)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: the networks are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentence_model(folder: Path, family: str = "albert") -> Path:
    """Save a tiny model that sentence-transformers loads, with a prompt."""
    make_model(folder, family)
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling")))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 60})
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "ask: "}})
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 48, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ALBERT; tests must not change it."""
    return sentence_model(tmp_path_factory.mktemp("original") / "small")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts to learn from and to compare on."""
    path = tmp_path_factory.mktemp("texts") / "texts.parquet"
    pq.write_table(pa.table({"text": make_texts(600, longest=30)}), path)
    return path


@pytest.fixture
def options(model: Path, texts: Path, tmp_path: Path) -> CompressOptions:
    """The options of a compression with texts that has not run."""
    return CompressOptions(
        model=model, output=tmp_path / "out", work=tmp_path / "work", pruning=HALF,
        texts=(texts,), held_out=60, batch_tokens=512, evaluate_every=10, device="cpu",
        precision="float32",
    )  # fmt: skip


def silent(_: str) -> None:
    """Drop a line of progress."""


def same_weights(one: Path, other: Path) -> bool:
    left, right = (load_file(model / "model.safetensors") for model in (one, other))
    return left.keys() == right.keys() and all(
        np.array_equal(left[name], right[name]) for name in left
    )


def test_the_command_writes_a_plain_model_and_prints_a_table(
    model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentence_transformers import SentenceTransformer

    pairs = make_texts(20, seed=3, longest=20)
    passages, questions = tmp_path / "passages.parquet", tmp_path / "questions.parquet"
    pq.write_table(pa.table({"id": [f"p{n}" for n in range(20)], "text": pairs}), passages)
    rows = {
        "question_id": [str(n) for n in range(20)],
        "question": [f"{text.split()[0]}?" for text in pairs],
        "relevant": [[f"p{n}"] for n in range(20)],
    }
    pq.write_table(pa.table(rows), questions)
    out = tmp_path / "out"
    command = [
        "compress", str(model), "--output", str(out), "--prune-inner", "0.5", "--prune-heads", "1",
        "--layers", "2", "--texts", str(texts), "--held-out", "50", "--questions", str(questions),
        "--passages", str(passages), "--device", "cpu",
    ]  # fmt: skip
    assert main(command) == 0
    told = capsys.readouterr()
    table = [line.split() for line in told.out.splitlines()]
    assert ["layers", "3", "2"] in table
    assert ["heads", "4", "3"] in table
    assert ["inner", "units", "96", "48"] in table
    assert any(line[:1] == ["nDCG@10"] for line in table)
    assert "layers       3       2      same        -33.3%" in told.out
    assert "save time, not size" in told.err
    assert "neither parameters nor products" in told.err

    network, loading = AutoModel.from_pretrained(
        out, output_loading_info=True, add_pooling_layer=False
    )
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert (network.config.num_hidden_layers, network.config.num_attention_heads) == (2, 3)
    assert network.config.intermediate_size == 48
    theirs = SentenceTransformer(str(out), device="cpu")
    assert theirs.max_seq_length == 60
    assert theirs.prompts["query"] == "ask: "
    found = find_model(ModelOptions(str(out)))
    assert (found.identity.query_prompt, found.identity.normalize) == ("ask: ", False)
    ours = load_encoder(found, Placement("cpu", "float32")).encode_texts(pairs)
    # Their weights stay in float16.
    assert np.allclose(ours, theirs.encode(pairs), rtol=0.02, atol=0.02)

    card = (out / "README.md").read_text()
    for line in ("| layers | 3 | 2 |", "| inner units | 96 | 48 |", "to the first order"):
        assert line in card
    assert not (tmp_path / "out.work").exists()
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_json_has_the_documented_keys_and_the_figures_of_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["compress", str(model), "--output", str(out), "--prune-inner", "32", "--json"]
    assert main([*command, "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == keys_of("compress")
    assert (found["importance"], found["cosine"], found["recovery"]) == ("norms", None, None)
    weights = load_file(out / "model.safetensors")
    assert found["compressed"]["parameters"] == sum(array.size for array in weights.values())
    assert found["compressed"]["bytes"] == (out / "model.safetensors").stat().st_size
    [saving] = found["savings"]
    # A row and a column of 48, and a bias, in the one stored layer.
    assert saving["parameters"] == 32 * (2 * 48 + 1)
    assert saving["products_per_token"] == 3 * 32 * 2 * 48
    assert found["original"]["parameters"] - found["compressed"]["parameters"] == 32 * 97
    assert "no texts were given" in (out / "README.md").read_text()


def test_units_without_output_can_go(model: Path, options: CompressOptions, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = tmp_path / "dead"
    shutil.copytree(model, folder)
    # As in the result, so that rounding changes nothing.
    halves = {
        name: array.astype(np.float16)
        for name, array in load_file(folder / "model.safetensors").items()
    }
    [shrink] = [name for name in halves if name.endswith("ffn_output.weight")]
    halves[shrink][:, 30:78] = 0
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    made = compress(replace(options, model=folder), silent)
    assert made.compressed.inner == 48
    smaller = load_file(options.output / "model.safetensors")
    assert np.array_equal(smaller[shrink], np.delete(halves[shrink], np.s_[30:78], axis=1))
    assert made.cosine == pytest.approx(1, abs=1e-4)


def test_a_recovery_lowers_the_distance(options: CompressOptions) -> None:
    options = replace(options, pruning=Pruning(layers=2))
    rough = compress(options, silent)
    again = replace(
        options,
        output=options.output.with_name("recovered"),
        recover=True,
        steps=40,
        rate=3e-3,
    )
    recovered = compress(again, silent)
    assert rough.cosine is not None
    assert recovered.cosine is not None
    assert 1 - recovered.cosine < 0.7 * (1 - rough.cosine)
    assert recovered.recovery is not None
    assert recovered.recovery.steps == 40
    history = (again.output / "history.jsonl").read_text().splitlines()
    assert json.loads(history[0])["step"] == 0
    assert json.loads(history[0])["score"] < recovered.recovery.score
    assert (again.output / "recover.svg").is_file()
    assert "trained for 40 steps" in (again.output / "README.md").read_text()


def test_weights_that_no_step_improves_stay(options: CompressOptions) -> None:
    rough = compress(options, silent)
    worse = replace(
        options, output=options.output.with_name("worse"), recover=True, steps=2, rate=1.0
    )
    kept = compress(worse, silent)
    assert kept.recovery is not None
    assert kept.recovery.best_step == 0
    assert same_weights(options.output, worse.output)
    assert kept.cosine == pytest.approx(rough.cosine)


@pytest.mark.slow
def test_a_recovery_resumes_bit_for_bit(
    options: CompressOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(options, recover=True, steps=12, dropout=0.1, evaluate_every=5)
    whole = replace(broken, output=tmp_path / "whole", work=tmp_path / "whole.work")
    compress(whole, silent)
    revive = kill_at(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        compress(broken, silent)
    assert not broken.output.exists()
    revive()
    with pytest.raises(BadInput) as caught:
        compress(broken, silent)
    assert caught.value.option == "work"
    with pytest.raises(BadInput) as caught:
        compress(replace(broken, resume=True, pruning=Pruning(prune_inner=0.75)), silent)
    assert caught.value.option == "checkpoint"
    assert "prune_inner 0.5" in caught.value.problem
    compress(replace(broken, resume=True), silent)
    assert same_weights(whole.output, broken.output)


def test_a_bert_becomes_smaller_too(options: CompressOptions, tmp_path: Path) -> None:
    folder = sentence_model(tmp_path / "bert", "bert")
    pruning = Pruning(prune_inner=0.5, prune_heads=0.25, layers=2)
    made = compress(replace(options, model=folder, pruning=pruning), silent)
    assert (made.compressed.layers, made.compressed.heads, made.compressed.inner) == (2, 3, 48)
    saved = {each.what: each for each in made.savings}
    assert saved["layers"].parameters > 0
    assert saved["layers"].note == ""
    assert saved["heads"].parameters == 0


@pytest.mark.parametrize(
    ("changed", "option", "remedy"),
    [
        ({"recover": True, "texts": ()}, "recover", "--texts"),
        ({"minutes": 5.0}, "minutes", "--recover"),
        ({"resume": True}, "resume", "--recover"),
        ({"questions": Path("q.parquet")}, "questions", "--passages"),
        ({"passages": Path("p.parquet")}, "passages", "--questions"),
    ],
)
def test_options_that_need_others_are_refused(
    options: CompressOptions, changed: dict[str, Any], option: str, remedy: str
) -> None:
    with pytest.raises(BadInput) as caught:
        replace(options, **changed)
    assert caught.value.option == option
    assert remedy in caught.value.remedy


def test_an_output_that_is_there_is_refused(options: CompressOptions, tmp_path: Path) -> None:
    for output, problem in (
        (options.model, "is the model itself"),
        (options.texts[0], "exists"),
        (options.model.parent, "exists"),
    ):
        with pytest.raises(BadInput) as caught:
            replace(options, output=output)
        assert (caught.value.option, caught.value.problem) == ("output", problem)
    (tmp_path / "out").mkdir()
    assert replace(options).output == tmp_path / "out"


def test_models_that_would_lose_something_are_refused(
    options: CompressOptions, tmp_path: Path
) -> None:
    other = make_model(tmp_path / "roberta", "roberta")
    ranker = make_pair_model(tmp_path / "ranker", "rank")
    first = sentence_model(tmp_path / "first")
    pooling = {"word_embedding_dimension": 48, "pooling_mode_cls_token": True}
    write_json(first / "1_Pooling" / "config.json", pooling)
    bare = make_model(tmp_path / "bare")
    for folder, recover, problem in (
        (other, False, "is a model of type roberta"),
        (ranker, False, "is an AlbertForSequenceClassification, whose head would be lost"),
        (first, False, "pools by cls"),
        (bare, True, "has no 1_Pooling/config.json and so no sentence vectors"),
        (tmp_path / "none", False, "has no config.json"),
    ):
        with pytest.raises(BadInput) as caught:
            compress(replace(options, model=folder, recover=recover), silent)
        assert (caught.value.option, caught.value.problem) == ("model", problem)
        assert caught.value.remedy
        assert not options.output.exists()


def test_too_few_texts_and_foreign_passages_are_refused(
    options: CompressOptions, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as caught:
        compress(replace(options, held_out=400), silent)
    assert caught.value.option == "texts"
    passages, questions = tmp_path / "p.parquet", tmp_path / "q.parquet"
    pq.write_table(pa.table({"id": ["a"], "text": ["river"]}), passages)
    asked = {"question_id": ["1"], "question": ["stone?"], "relevant": [["b"]]}
    pq.write_table(pa.table(asked), questions)
    with pytest.raises(BadInput) as caught:
        compress(replace(options, questions=questions, passages=passages), silent)
    assert caught.value.option == "questions"
    assert "name no passage" in caught.value.problem


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prune-heads", "9"], "--prune-heads 9: leaves none of the 4 heads. Give one of 1, 2"),
        (["--prune-inner", "1.5"], "--prune-inner 1.5: is a share, and must be above 0 and below"),
        (["--prune-inner", "half"], "'half' is neither a whole number nor a share such as 0.5"),
        (["--layers", "0"], "--layers 0: must be at least 1"),
        ([], "nothing would be pruned"),
        (["--layers", "2", "--recover"], "--recover: needs texts to learn from. Give --texts"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str],
    message: str,
) -> None:  # fmt: skip
    command = ["compress", str(model), "--output", str(tmp_path / "out"), *arguments]
    try:
        code = main(command)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
