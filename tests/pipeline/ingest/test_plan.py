"""What ``albeam plan`` estimates, compared with what the run then does."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from transforms.catalog.options import ColumnOptions
from transforms.index.options import IndexOptions
from transforms.index.vector.faiss_factory import kind_of
from transforms.index.vector.plan import max_shard_rows
from transforms.index.vector.selection import build_seconds, choose_index, index_bytes
from transforms.ingest.sample import even_slices
from transforms.ingest.survey import survey_input
from transforms.storage.input_files import list_inputs


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["plan", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("albeam: ")
    assert "\n" not in said
    return said


def test_a_plan_says_what_the_run_then_does(
    corpus: Path, albert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows are sampled, so that counts are exact and sizes nearly so."""
    how = [str(corpus), "--model", str(albert), "--rows-per-part", "80", "--all-columns"]
    planned = plan(capsys, *how)
    assert main(["embed", *how, "--store", str(tmp_path / "store"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert planned["sampled"] == planned["rows"] == 200
    for name in ("passages", "tokens", "parts", "index", "index_reason", "model", "dtype"):
        assert planned[name] == done[name]
    vectors = list((tmp_path / "store").glob("segments/*/vectors/*.parquet"))
    written = sum(file.stat().st_size for file in vectors)
    assert planned["vector_bytes"] == pytest.approx(written, rel=0.5)
    [manifest] = (tmp_path / "store").glob("segments/*/segment.json")
    assert 0 < planned["manifest_bytes"] < manifest.stat().st_size
    assert planned["shards"] == 1
    assert planned["tokens_per_second"] > 0
    assert planned["speed"].startswith("measured here")
    assert planned["cost"] is None
    assert planned["worker_bytes"] > 50_000_000


def test_more_rows_workers_speed_and_price_are_multiplied_out(
    corpus: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = [str(corpus), "--model", str(albert)]
    small = plan(capsys, *how)
    large = plan(
        capsys, *how, "--rows", "2000000000", "--parallel", "100", "--tokens-per-second", "1000000",
        "--price-per-hour", "2.5",
    )  # fmt: skip
    assert large["rows"] == 2_000_000_000
    assert large["tokens"] == small["tokens"] * 10_000_000
    assert large["passages"] == small["passages"] * 10_000_000
    assert large["parts"] == -(-2_000_000_000 // large["rows_per_part"])
    assert large["speed"] == "as given"
    assert large["embed_seconds"] == pytest.approx(large["tokens"] / 1e8, abs=0.1)
    hours = large["embed_seconds"] * 100 / 3600 + large["build_seconds"] / 3600
    assert large["cost"] == pytest.approx(hours * 2.5, abs=0.01)
    choice = choose_index(IndexOptions(), 48, large["passages"])
    assert large["index"] == choice.factory != "Flat"
    assert large["index_bytes"] == index_bytes(large["index"], 48, large["passages"])
    assert large["raw_bytes"] == 2 * 48 * large["passages"]
    assert large["build_seconds"] == pytest.approx(
        build_seconds(large["index"], 48, large["passages"]), abs=0.1
    )
    most = max_shard_rows(large["index"], 48)
    assert large["shards"] == -(-large["passages"] // most)
    rows = -(-large["passages"] // large["shards"])
    centres = 4 * 48 * kind_of(large["index"], 48).lists
    assert centres > 0
    assert large["shard_bytes"] == index_bytes(large["index"], 48, rows) + centres


def test_without_json_a_plan_is_a_table(
    corpus: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(corpus), "--model", str(albert), "--index", "none"]) == 0
    said = capsys.readouterr().out
    assert "rows" in said
    assert "200 (200 sampled, 0 rejects)" in said
    assert "give --price-per-hour" in said
    assert "0 shards" in said


def test_an_error_of_a_plan_is_one_line(
    corpus: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = [str(corpus), "--model", str(albert)]
    assert "--rows 0: " in refused(capsys, *how, "--rows", "0")
    assert "--parallel 0: " in refused(capsys, *how, "--parallel", "0")
    assert "--tokens-per-second 0.0: " in refused(capsys, *how, "--tokens-per-second", "0")
    assert "--price-per-hour -1.0: " in refused(capsys, *how, "--price-per-hour", "-1")
    assert "--rows-per-part 0: " in refused(capsys, *how, "--rows-per-part", "0")
    assert "--runner nosuch: " in refused(capsys, *how, "--runner", "nosuch")
    assert "is unknown to albeam and to Beam" in refused(capsys, *how, "--paralel", "3")


@pytest.mark.parametrize("texts", [[" ", ""], [None, None]])
@pytest.mark.parametrize("index", ["auto", "none", "flat"])
def test_an_input_without_text_is_planned_as_it_is_embedded(
    albert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    texts: list[str | None],
    index: str,
) -> None:
    table = pa.table({"id": ["a", "b"], "text": pa.array(texts, pa.string())})
    pq.write_table(table, tmp_path / "a.parquet")
    how = [str(tmp_path / "a.parquet"), "--model", str(albert), "--index", index]
    planned = plan(capsys, *how)
    assert main(["embed", *how, "--store", str(tmp_path / "store"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert planned["rejects"] == sum(done["rejects"].values()) == 2
    for name in ("passages", "tokens"):
        assert planned[name] == done[name] == 0
    assert planned["parts"] == done["parts"]
    assert planned["embed_seconds"] == 0
    assert "--text-column text" in done["notice"]


def test_a_sample_is_spread_over_all_files_and_row_groups(tmp_path: Path) -> None:
    for name in "ab":
        ids = [f"{name}{n}" for n in range(400)]
        file = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"id": ids, "text": ids}), file, row_group_size=10)
    survey = survey_input(list_inputs((str(tmp_path),)), ColumnOptions())
    pieces = list(even_slices(survey))
    assert len(pieces) == 16
    assert [(p.file, p.row_group) for p in (pieces[0], pieces[-1])] == [(0, 0), (1, 39)]
    assert sum(p.file for p in pieces) == 8
    assert all(p.row == 10 * p.row_group and p.rows == 10 for p in pieces)


def test_questions_for_the_recall_are_refused_because_a_plan_measures_none(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, str(corpus), "--recall-questions", "q.txt")
    assert said.startswith("albeam: --recall-questions q.txt: has no effect on a plan")
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "--recall-questions" not in capsys.readouterr().out
