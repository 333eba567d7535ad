"""The comparison of int8 with float: its figures, and its exit code."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.bench import int8
from tests.support.models import make_model, make_texts
from transforms.runtime.devices import supports_int8

pytestmark = pytest.mark.skipif(not supports_int8(), reason="this CPU has no units for bytes")

SPEEDS = {
    *("tokens_per_second", f"ratio_to_{int8.CHOSEN}"),
    *("tokens_per_second_with_tokenization", f"ratio_to_{int8.CHOSEN}_with_tokenization"),
}
QUALITY = {"ndcg@10", "cosine_p1", "least_cosine"}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The arguments for twelve passages, of which each one's first words are a question."""
    folder = tmp_path / "data" / "squad_dev"
    folder.mkdir(parents=True)
    texts = make_texts(12, seed=3, longest=20)
    passages = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    questions = [
        {
            "question_id": f"q{number}",
            "question": " ".join(text.split()[:5]),
            "relevant": [str(number)],
        }
        for number, text in enumerate(texts)
    ]
    pq.write_table(pa.Table.from_pylist(passages), folder / "passages.parquet")
    pq.write_table(pa.Table.from_pylist(questions), folder / "questions.parquet")
    model = str(make_model(tmp_path / "model"))
    shape = str(make_model(tmp_path / "shape", seed=1))
    return [
        *("--data", str(folder.parent), "--models", model, "--shape-only", shape, "--sample", "9"),
        *("--texts", "6", "--turns", "2", "--json", str(tmp_path / "figures.json")),
    ]


@pytest.mark.parametrize("least", [0.9, 1.01])
def test_each_dtype_has_its_figures_and_a_missed_target_is_the_exit_code(
    words: list[str],
    least: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(int8, "_LEAST_COSINE", least)
    monkeypatch.setattr(int8, "_MOST_LOSS", 1.0)
    assert int8.main(words) == int(least > 1)
    model, shape = words[3], words[5]
    printed = capsys.readouterr().out
    assert (f"missed: {model}: cosine" in printed) == (least > 1)
    found = json.loads(Path(words[-1]).read_text())
    assert set(found) == {model, shape}
    for name, rows in found.items():
        assert list(rows) == list(int8.DTYPES)
        for dtype, row in rows.items():
            assert set(row) == (SPEEDS | QUALITY if name == model else SPEEDS)
            assert all(row[key] > 0 for key in SPEEDS)
            assert f"{name} {dtype}: " in printed
        assert {rows[int8.CHOSEN][key] for key in SPEEDS if "ratio" in key} == {1.0}
    exact, bytewise = found[model]["float32"], found[model]["int8"]
    assert exact["cosine_p1"] == pytest.approx(1)
    assert 0.9 < bytewise["least_cosine"] <= bytewise["cosine_p1"] < 1
    assert 0 < bytewise["ndcg@10"] <= 1


def test_a_loss_of_quality_is_a_line() -> None:
    def figures(ndcg: float, cosine: float) -> dict[str, dict[str, dict[str, float]]]:
        rows = {"float32": {"ndcg@10": 0.7}, "int8": {"ndcg@10": ndcg, "cosine_p1": cosine}}
        return {"m": rows, "shape": {"int8": {"tokens_per_second": 1.0}}}

    assert int8.misses(figures(0.698, 0.991)) == []
    [line] = int8.misses(figures(0.696, 0.991))
    assert "loses 0.0040 of nDCG@10" in line
    [line] = int8.misses(figures(0.71, 0.98))
    assert "cosine 0.9800" in line
