"""The benchmark: its report, its padding counts and its texts; no test depends on a time."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch

from deploy.docs.json_outputs import OUTPUTS
from pipeline.bench import models
from pipeline.bench.corpora import cut_texts, make_corpus, neighbours, paragraphs, skewed
from pipeline.bench.memory import measure_memory
from pipeline.bench.options import SYSTEMS, BenchOptions, Effort, MemoryOptions, StoreOptions
from pipeline.bench.report import print_bench
from pipeline.bench.run import run
from pipeline.bench.store import measure_store
from pipeline.bench.systems.albeam import Albeam
from pipeline.bench.systems.converted import Converted, Embed, OnnxRuntime, padded_batches
from pipeline.bench.systems.sentence_transformers import SentenceTransformers
from pipeline.bench.systems.system import Setup, counted_positions
from pipeline.bench.targets import judge, ratio
from pipeline.cli import main
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from tests.support.raising import raises
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.models.tokenizer import load_tokenizer

EFFORT = Effort(rounds=1, seconds=0.1, fewest=16, most=16, embedded=0.1, batch_sizes=(4,), tried=8)
#: Notes of systems that a machine or an environment can't run begin so.
LACKING = ("not installed", "this CPU has no units", "no environment")
KEYS = {"system", "shape", "corpus", "tokens_per_second", "peak_share", "padding"}


def options(albert: Path, *systems: str, **rest: Any) -> BenchOptions:
    pairs = (("tiny", "skewed"),)
    none = {"memory": None, "store": None}
    given = {"effort": EFFORT, "pairs": pairs, "folders": {"tiny": str(albert)}, **none}
    return BenchOptions(systems=systems, **given | rest)


@pytest.fixture(scope="module")
def report(albert: Path) -> dict[str, Any]:
    """All systems that are installed, on a tiny model."""
    return run(options(albert))


def test_every_system_has_a_row(report: dict[str, Any]) -> None:
    assert [row["system"] for row in report["rows"]] == [
        name for name in SYSTEMS if name != "matrix-peak"
    ]
    assert json.loads(json.dumps(report)) == report
    assert report["machine"]["threads"] == torch.get_num_threads()
    assert report["machine"]["gpu"] is None or report["machine"]["gpu"]["bytes"] > 1e9
    assert report["tokenizer"]["again_tokens_per_second"] > 0
    assert report["tokenizer"]["tokens_per_second"] > 0
    for row in report["rows"]:
        assert row.keys() >= KEYS
        assert (row["shape"], row["corpus"]) == ("tiny", "skewed")
        assert "failed" not in row["note"]
        if row["note"].startswith(LACKING):
            assert row["tokens_per_second"] is None
        elif row["system"] not in ("albeam-e2e", "albeam-int8-e2e", "beam"):
            # A run this short may be lost in the start-up that is subtracted.
            assert row["tokens_per_second"] > 0
            assert row["peak_share"] > 0
        if row["system"].endswith("-e2e") and row["tokens_per_second"] is not None:
            assert row["e2e_share"] is None
            assert "leave out --quick" in row["note"]
    dtypes = {row["system"]: row["dtype"] for row in report["rows"]}
    assert dtypes["sentence-transformers"] == dtypes["albeam-float32"] == "float32"


def test_the_keys_of_the_report_are_those_of_the_reference(report: dict[str, Any]) -> None:
    described = {key.name: key.meaning for key in OUTPUTS["bench"].keys}
    assert set(report) == set(described) - {"memory", "store", "sample"}
    names = set(re.findall(r"`(\w+)`", described["rows"]))
    some = {"startup_seconds", "bare_rates", "e2e_share"}
    assert some <= names
    for row in report["rows"]:
        assert names - some <= set(row) <= names


def test_only_the_first_round_starts_when_the_time_is_over(albert: Path) -> None:
    effort = replace(EFFORT, rounds=3, limit=0.0)
    pairs = (("tiny", "skewed"), ("tiny", "squad"))
    report = run(options(albert, "linear-peak", effort=effort, pairs=pairs))
    assert [row["rounds"] for row in report["rows"]] == [1] * 4
    report = run(options(albert, "linear-peak", effort=replace(effort, limit=1e9)))
    assert [(row["rounds"], len(row["rates"])) for row in report["rows"]] == [(3, 3)] * 2


def test_every_system_gives_the_vectors_of_the_unmodified_network(report: dict[str, Any]) -> None:
    for row in report["rows"]:
        if row["system"] != "linear-peak" and not row["note"].startswith(LACKING):
            least = {"float32": 0.99999, "int8": 0.97}.get(row["dtype"], 0.999)
            assert row["least_cosine"] > least, row


def test_padding_is_what_the_networks_compute_on(report: dict[str, Any], albert: Path) -> None:
    model = find_model(ModelOptions(str(albert)))
    texts = make_corpus("skewed", 16)
    ids = load_tokenizer(model).encode_framed(texts, model.identity.max_tokens)
    lengths = sorted((len(one) for one in ids), reverse=True)
    fours = sum(4 * lengths[first] for first in range(0, 16, 4))
    batches: list[int] = []
    load_encoder(model, Placement("cpu", "float32")).encode(
        pa.array(ids, pa.list_(pa.int32())), lambda _, tokens: batches.append(tokens)
    )
    # Batches are filled up to a multiple of 32 tokens.
    filled = sum(-(-tokens // 32) * 32 for tokens in batches)
    expected = {
        "albeam-float32": 1 - sum(lengths) / filled,
        "linear-peak": 0.0,
        # One batch of all sixteen.
        "sentence-transformers": 1 - sum(lengths) / (16 * lengths[0]),
        "openvino-bf16": 1 - sum(lengths) / fours,
        "onnxruntime": 1 - sum(lengths) / fours,
    }
    found = {row["system"]: row["padding"] for row in report["rows"]}
    for system, padding in expected.items():
        if found[system] is not None:
            assert found[system] == pytest.approx(padding), system


def test_a_peer_that_is_not_installed_or_fails_is_a_row_that_says_so(
    albert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(name: str, *rest: Any) -> object:
        return None if name == "openvino" else importlib.util.find_spec(name, *rest)

    monkeypatch.setattr("pipeline.bench.systems.system.find_spec", find)
    monkeypatch.setattr(OnnxRuntime, "packages", ())
    monkeypatch.setattr(OnnxRuntime, "convert", lambda *_: 1 / 0)
    report = run(options(albert, "openvino-bf16", "onnxruntime"))
    notes = {row["system"]: row["note"] for row in report["rows"]}
    assert notes["openvino-bf16"] == "not installed: openvino; pip install 'albeam[bench]'"
    assert notes["onnxruntime"] == "failed: division by zero"
    print_bench(report)
    assert "not installed: openvino" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rest", "option", "value"),
    [
        ({"pairs": ()}, "pairs", None),
        ({"pairs": (("tiny", "novels"),)}, "corpora", "novels"),
        ({"pairs": (("huge", "squad"),)}, "shapes", "huge"),
        ({"systems": ("abacus",)}, "systems", "abacus"),
    ],
)
def test_options_that_measure_nothing_are_refused(
    albert: Path, rest: dict[str, Any], option: str, value: str | None
) -> None:
    with pytest.raises(BadInput) as caught:
        replace(options(albert), **rest)
    assert (caught.value.option, caught.value.value) == (option, value)


def test_a_device_that_is_missing_is_refused(albert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with raises(BadInput, "device", "cuda"):
        run(options(albert, device="cuda"))


def test_the_command_refuses_zero_texts_and_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--texts", "0"]) == 2
    assert "--texts 0: must be at least 1" in capsys.readouterr().err
    assert main(["bench", "--rounds", "0", "--quick"]) == 2
    assert "--rounds 0: must be at least 1" in capsys.readouterr().err


def test_texts_are_the_same_for_the_same_seed() -> None:
    assert paragraphs(20) == paragraphs(20) != paragraphs(20, seed=1)
    assert skewed(20) == skewed(20) != skewed(20, seed=1)
    assert make_corpus("squad", 5) == make_corpus("squad", 5)
    words = [len(text.split()) for text in skewed(160)]
    assert sum(count > 300 for count in words) == 10
    assert sorted(words)[150 - 1] <= 60
    with pytest.raises(BadInput) as caught:
        make_corpus("squad", 0)
    assert (caught.value.option, caught.value.value) == ("texts", 0)


def test_real_paragraphs_have_the_lengths_of_the_made_up_ones(data_folder: Path) -> None:
    tokenizer = load_tokenizer(find_model(ModelOptions("albeam-small")))
    means = [
        np.mean([len(tokens.ids) for tokens in tokenizer.encode(make_corpus("squad", 2067, data))])
        for data in (None, data_folder)
    ]
    assert means[0] == pytest.approx(means[1], rel=0.05)


def test_neighbours_are_runs_of_similar_length_spread_over_all() -> None:
    lengths = [*range(1000, 0, -1)]
    texts = [str(length) for length in lengths]
    chosen = sorted(map(int, neighbours(texts, lengths, 64)))
    assert chosen == [*range(235, 267), *range(735, 767)]
    assert len(set(neighbours(texts, lengths, 50))) == 50
    assert sorted(neighbours(texts[:5], lengths[:5], 5)) == sorted(texts[:5])


def test_batches_are_padded_to_their_longest() -> None:
    batches = list(padded_batches([[5], [6, 7, 8], [9, 9]], 2))
    assert [rows.tolist() for rows, _, _ in batches] == [[1, 2], [0]]
    assert [ids.tolist() for _, ids, _ in batches] == [[[6, 7, 8], [9, 9, 0]], [[5]]]
    assert [mask.tolist() for _, _, mask in batches] == [[[1, 1, 1], [1, 1, 0]], [[1]]]


def test_positions_are_counted_at_the_word_embeddings_only() -> None:
    network = torch.nn.Sequential(torch.nn.Embedding(9, 3), torch.nn.Linear(3, 4))
    with counted_positions([network]) as positions:
        network(torch.zeros(2, 7, dtype=torch.int64))
        network(torch.zeros(6, dtype=torch.int64))
    network(torch.zeros(1, dtype=torch.int64))
    assert positions == [14, 6]


def test_parallel_batches_give_the_same_vectors(albert: Path, tmp_path: Path) -> None:
    class Sums(Converted):
        def convert(self, network: object, streams: int) -> Embed:
            return lambda ids, mask: np.repeat((ids * mask).sum(1)[:, None], 48, 1)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        setup = Setup(find_model(ModelOptions(str(albert))), Placement("cpu"), tmp_path)
        texts = make_corpus("skewed", 30)
        peer = Sums(setup)
        peer.prepare(texts)
        assert set(peer.embedders) == {1, 3}
        found = []
        for streams in (1, 3):
            peer.streams = streams
            found.append((peer.run(texts), peer.positions()))
    finally:
        torch.set_num_threads(before)
    assert found[0][1] == found[1][1] > 0
    assert np.array_equal(found[0][0], found[1][0])


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours, theirs = {"rates": [10.0, 90.0, 30.0]}, {"rates": [5.0, 30.0, 10.0]}
    assert ratio(ours, theirs) == 3.0
    assert ratio({"rates": []}, theirs) is None
    assert ratio({"rates": [None, 60.0, None]}, theirs) == 2.0
    assert ratio({"tokens_per_second": 6.0}, {"tokens_per_second": 3.0}) == 2.0


def test_targets_are_ratios_of_rows() -> None:
    def row(system: str, rate: float | None, **more: Any) -> dict[str, Any]:
        return {"shape": "s", "corpus": "c", "system": system, "tokens_per_second": rate, **more}

    rows = [row("albeam", 600), row("sentence-transformers", 100), row("linear-peak", 1200)]
    rows += [row("openvino-bf16", None, note="failed: no"), row("albeam-e2e", 590, e2e_share=0.96)]
    rows += [row("albeam-int8-e2e", 700, e2e_share=0.92)]
    memory = {"rows": [1, 10], "peak_bytes": [100, 120], "ratio": 1.2}
    machine = {"device": "cpu", "cpu_flags": ["avx512_bf16", "amx_bf16"]}
    judged = judge({"machine": machine, "rows": rows, "memory": memory})
    verdicts = {target["name"]: (target["measured"], target["passed"]) for target in judged}
    assert verdicts["albeam / sentence-transformers"] == (6.0, True)
    assert verdicts["albeam / linear-peak"] == (0.5, False)
    assert verdicts["albeam-e2e / bare encoder"] == (0.96, True)
    assert verdicts["albeam-int8-e2e / bare encoder"] == (0.92, False)
    assert verdicts["memory of ten times the rows"] == (1.2, False)
    assert verdicts["albeam / matrix-peak"] == (None, None)
    assert verdicts["albeam / openvino-bf16"] == (None, None)
    assert {target["note"] for target in judged if "openvino" in target["name"]} == {"failed: no"}
    assert "albeam-float32 / sentence-transformers" not in verdicts


def test_targets_of_int8_depend_on_the_shape() -> None:
    rows = [
        {"shape": shape, "corpus": "c", "system": system, "tokens_per_second": rate}
        for shape in ("albert-base", "albeam-small", "tiny")
        for system, rate in (("albeam", 10), ("albeam-int8", 14), ("sentence-transformers", 2))
    ]
    judged = judge({"machine": {"device": "cpu", "cpu_flags": []}, "rows": rows})
    found = {
        (target["where"], target["name"]): (target["bound"], target["measured"], target["passed"])
        for target in judged
        if target["name"].startswith("albeam-int8")
    }
    assert found == {
        ("albert-base, c", "albeam-int8 / albeam"): (1.5, 1.4, False),
        ("albert-base, c", "albeam-int8 / sentence-transformers"): (5.0, 7.0, True),
        ("albeam-small, c", "albeam-int8 / albeam"): (1.35, 1.4, True),
    }


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        ({"device": "cpu", "cpu_flags": ["avx2"]}, {"albeam-float32 / sentence-transformers": 1.5}),
        (
            {"device": "cpu", "cpu_flags": ["avx512_bf16"]},
            {
                "albeam / sentence-transformers": 2.5,
                "albeam-float32 / sentence-transformers": 1.5,
            },
        ),
        (
            {"device": "cuda", "cpu_flags": ["amx_bf16"]},
            {"albeam / sentence-transformers-best": 2.0, "albeam / matrix-peak": 0.4},
        ),
    ],
)
def test_bounds_are_those_of_the_device(machine: dict[str, Any], names: dict[str, float]) -> None:
    systems = ("albeam", "albeam-float32", "sentence-transformers", "sentence-transformers-best")
    rows = [
        {"shape": "s", "corpus": "c", "system": system, "tokens_per_second": 8.0}
        for system in (*systems, "openvino-bf16", "linear-peak", "matrix-peak")
    ]
    judged = judge({"machine": machine, "rows": rows})
    measured = [target for target in judged if target["measured"] is not None]
    assert {target["name"]: target["bound"] for target in measured} == names


@pytest.mark.slow
def test_memory_is_that_of_the_embedding_process(albert: Path) -> None:
    memory = measure_memory(MemoryOptions(rows=5, model=str(albert)))
    assert memory["rows"] == [5, 50]
    assert all(50e6 < peak < 20e9 for peak in memory["peak_bytes"])
    assert memory["ratio"] == memory["peak_bytes"][1] / memory["peak_bytes"][0]


@pytest.mark.slow
def test_the_cost_of_a_sync_is_a_share_of_embedding(
    albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measure_store(StoreOptions(rows=60, parts=7, model=str(albert)))
    assert (found["rows"], found["parts"]) == (60, 7)
    assert min(found.values()) > 0
    judged = judge({"machine": {"device": "cpu"}, "rows": [], "store": found})
    measured = {target["name"]: target["measured"] for target in judged}
    assert measured["sync, nothing changed / embed"] == found["unchanged_share"]
    print_bench({"rows": [], "targets": judged, "store": found})
    out = capsys.readouterr().out
    assert "7 parts open in" in out
    assert "<= 0.05" in out
    alone = run(BenchOptions(pairs=(), memory=None, store=StoreOptions(20, 3, str(albert))))
    assert (alone["rows"], alone["store"]["rows"]) == ([], 20)


def test_the_large_shape_loads_offline_in_albeam_and_its_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(models.BASE, "num_hidden_layers", 1)
    folder = models.write_base(tmp_path / "base")
    model = find_model(ModelOptions(str(folder)))
    assert (model.hidden_size, model.intermediate_size) == (768, 3072)
    assert (model.identity.max_tokens, model.identity.normalize) == (512, True)
    setup = Setup(model, Placement("cpu", "float32"), tmp_path)
    texts = ["a river", "a stone and a long winter"]
    vectors = []
    for system in (Albeam(setup), SentenceTransformers(setup)):
        system.prepare(texts)
        vectors.append(system.run(texts))
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


def test_the_bare_encoder_embeds_the_passages_of_the_job(albert: Path, tmp_path: Path) -> None:
    model = find_model(ModelOptions(str(albert)))
    texts = make_corpus("skewed", 16)
    passages = cut_texts(load_tokenizer(model), texts, model)
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    store = str(tmp_path / "store")
    embed(EmbedOptions((str(tmp_path / "in.parquet"),), store, ModelOptions(str(albert))))
    written = ds.dataset(sorted((tmp_path / "store").glob("segments/*/vectors/*.parquet")))
    table = written.to_table(columns=["document_id", "passage", "text"]).to_pylist()
    table.sort(key=lambda row: (int(row["document_id"]), row["passage"]))
    assert [row["text"] for row in table] == passages
    assert len(passages) > len(texts)
