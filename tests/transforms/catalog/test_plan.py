"""A stored plan that someone else made reads no other files than those of the run."""

import json
from typing import Any

import pyarrow as pa
import pytest

from tests.support.raising import raises
from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Part, Plan, Slice
from transforms.errors import Damaged
from transforms.storage.checksummed_json import seal
from transforms.storage.filesystem import FileInfo

WHERE = "store/segments/s/plan.json"
FILE = FileInfo("/in/a.parquet", 5, "mtime=1")
PLAN = Plan((FILE,), ColumnOptions(), pa.schema([]), (Part(0, (Slice(0, 0, 0, 5, 0),)),))


def _changed(**values: Any) -> bytes:
    value = json.loads(PLAN.to_json()) | values
    del value["digest"]
    return seal(value)


@pytest.mark.parametrize(
    "values",
    [
        {"carry": {"0": "../../outside/precious"}},
        {"carry": {"0": "/etc/passwd"}},
        {"carry": {"7": "carry.parquet"}},
        {"parts": [[[1, 0, 0, 5, 0]]]},
        {"parts": [[[0, 0, 5, 0, 0]]]},
        {"parts": [[[0, 0, 0, 2**60, 0]]]},
        {"parts": [[[0, 0, 0, 5, 0, "AAAA"]]]},
    ],
)
def test_a_plan_that_leads_elsewhere_is_damaged(values: dict[str, Any]) -> None:
    with raises(Damaged, "file", WHERE):
        Plan.from_json(_changed(**values), WHERE)


def test_a_plan_of_other_files_is_damaged() -> None:
    plan = Plan.from_json(PLAN.to_json(), WHERE)
    plan.check_files([FILE, FileInfo("/in/b.parquet", 1, "")], WHERE)
    with raises(Damaged, "file", WHERE, problem="/in/a.parquet"):
        plan.check_files([FileInfo("/in/a.parquet", 6, "mtime=1")], WHERE)


def test_a_plan_with_a_key_twice_is_damaged() -> None:
    content = PLAN.to_json()
    with raises(Damaged, "file", WHERE, problem="'files' twice"):
        Plan.from_json(b'{"files": [], ' + content[1:], WHERE)
