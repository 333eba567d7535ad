"""The benchmark of the service: its load, its targets, and how it compares answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.serve.__main__ import MEASURES, PARTS, TARGETS, judge
from deploy.bench.serve.load import Load, run_load
from deploy.bench.serve.services import serving
from deploy.bench.serve.soak import Soaked, compare
from tests.support.models import make_texts
from transforms.search.store import Store

GOOD: dict[str, Any] = {
    "squad": {"sixteen": {"requests_per_second": 160.0, "p95": 150.0}, "one": {"p50": 9.0}},
    "million": {"rows": 10, "eight": {"p95": 200.0}},
    "embeddings": {"times": {"median": 1.6}},
    "ready": {"start": {"seconds": 2.0}},
}


def test_targets_are_judged() -> None:
    assert judge(GOOD) == []
    assert judge({"ready": GOOD["ready"]}) == []
    for part, name, figure in TARGETS:
        bound, limit = TARGETS[part, name, figure]
        worse = limit / 2 if bound == "least" else 2 * limit
        changed = json.loads(json.dumps({part: GOOD[part]}))
        changed[part][name][figure] = worse
        assert judge(changed) == [
            f"{part} {name}: {figure} is {worse}, and {limit:g} is the {bound}"
        ]
        del changed[part][name][figure]
        assert len(judge(changed)) == 1
    failed = {"million": {"rows": 1, "eight": {"p95": 1.0, "errors": [[0.0, "OSError()"]]}}}
    assert judge(failed) == ["million eight: 1 requests failed"]
    assert set(MEASURES) == set(PARTS)


def test_a_soak_misses_what_goes_wrong() -> None:
    good: dict[str, Any] = dict.fromkeys(Soaked.__annotations__, 1)
    good |= {"wrong": 0, "errors": 0, "damaged": 5, "refused": 10, "memory": 1.05}
    assert Soaked(**good).missed == []
    for change in ({"wrong": 1}, {"errors": 1}, {"killed": 9}, {"refused": 9}, {"memory": 1.2}):
        assert len(Soaked(**(good | change)).missed) == 1, change


@pytest.mark.slow
def test_a_load_asks_a_service_and_its_answers_are_compared(
    embedded_store: Path, tmp_path: Path
) -> None:
    questions = make_texts(5, seed=1)
    record = tmp_path / "answers.jsonl"
    bodies = [{"question": each, "k": 10} for each in questions]
    with serving(str(embedded_store)) as service:
        assert service.memory() > 0
        assert service.servers() == [service.pid]
        load = Load(service.port, "/search", bodies, 3, 1.0, 0.2, 1, str(record))
        found = run_load(load)
        refused = run_load(Load(service.port, "/search", [{"question": ""}], 1, 0.3, 0.0))
    assert found["requests"] > 5
    assert found["errors"] == []
    assert found["p50"] <= found["p95"] <= found["p99"]
    assert refused["requests"] == 0
    assert "status 400" in refused["errors"][0][1]
    number = Store.open(str(embedded_store)).snapshot.number
    assert compare(str(embedded_store), record, questions) == (0, 1)
    lines = record.read_text(encoding="utf-8").splitlines()
    place, snapshot, hits = json.loads(lines[0])
    assert snapshot == number
    hits[0][1] += 1e-6
    record.write_text("\n".join([json.dumps([place, snapshot, hits]), *lines[1:]]) + "\n", "utf-8")
    assert compare(str(embedded_store), record, questions) == (1, 1)
