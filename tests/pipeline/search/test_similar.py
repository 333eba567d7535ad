"""``albeam similar``."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.search.similar import run
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement

Output = pytest.CaptureFixture[str]
PLACED = Placement("cpu", "float32")


def write(folder: Path, **columns: list[object]) -> str:
    path = folder / "pairs.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return str(path)


def test_a_file_of_pairs_keeps_its_columns_and_gets_one(
    tmp_path: Path, albert: Path, capsys: Output
) -> None:
    texts = [f"river {n}" for n in range(7)]
    pairs = write(tmp_path, key=list(range(7)), sentence1=texts, sentence2=["river 3"] * 7)
    output = tmp_path / "out" / "similar.parquet"
    command = ["similar", "--pairs", pairs, "--output", str(output), "--model", str(albert)]
    assert main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    table = pq.read_table(output)
    assert table.column_names == ["key", "sentence1", "sentence2", "similarity"]
    assert table.drop_columns(["similarity"]).equals(pq.read_table(pairs))
    found = table.column("similarity").to_pylist()
    assert found[3] == 1
    assert all(-1 <= value < 1 for place, value in enumerate(found) if place != 3)
    assert (summary["output"], summary["pairs"]) == (str(output), 7)
    assert summary["mean"] == pytest.approx(sum(found) / 7, abs=1e-5)
    # The same pair alone.
    assert main(["similar", texts[5], "river 3", "--model", str(albert), "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone == {"similarity": pytest.approx(found[5], abs=1e-4)}
    assert main(["similar", "a river", "a river", "--model", str(albert)]) == 0
    assert capsys.readouterr().out == "1.0000\n"


def test_wrong_pairs_are_named_and_nothing_is_written(tmp_path: Path, albert: Path) -> None:
    model, output = ModelOptions(str(albert)), str(tmp_path / "o.parquet")
    for columns, problem in (
        ({"sentence1": ["a"]}, "'sentence2'"),
        ({"sentence1": ["a"], "sentence2": [1]}, "int64"),
        ({"sentence1": ["a"], "sentence2": ["b"], "similarity": [1.0]}, "'similarity'"),
        ({"sentence1": ["a", "b"], "sentence2": ["b", None]}, "row 1"),
    ):
        pairs = write(tmp_path, **columns)
        with raises(BadInput, "pairs", pairs, problem):
            run(pairs, output, model, PLACED)
    pairs = write(tmp_path, sentence1=["a"], sentence2=[" "])
    with raises(BadInput, "pair 0"):
        run(pairs, output, model, PLACED)
    with raises(BadInput, "output", "o.csv"):
        run(pairs, "o.csv", model, PLACED)
    with raises(BadInput, "pairs", str(tmp_path / "none.parquet")):
        run(str(tmp_path / "none.parquet"), output, model, PLACED)
    assert not Path(output).exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["a"], ["a", "b", "--pairs", "x"], ["--pairs", "x"], ["a", "b", "--output", "x"]],
)
def test_either_two_texts_or_files_are_given(arguments: list[str], capsys: Output) -> None:
    assert main(["similar", *arguments]) == 2
    assert capsys.readouterr().err.startswith("albeam: ")


def test_a_blank_text_is_refused(capsys: Output) -> None:
    assert main(["similar", "a", " "]) == 2
    assert "blank" in capsys.readouterr().err
