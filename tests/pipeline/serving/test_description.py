"""The service keeps what its own description says, whatever schemathesis sends."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipeline.serving.core.keys import Keys, add_key
from pipeline.serving.core.models import load_models
from pipeline.serving.core.service import Service
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits
from tests.pipeline.serving.conftest import SECRET
from tests.pipeline.serving.live import live
from transforms.models.options import Placement
from transforms.search.store import Store

#: Valid requests to each route, and as many that the description does not allow.
_EXAMPLES = 10


@pytest.fixture(scope="module")
def served(
    opened: Store, pair_models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a service, and a key for each of its routes."""
    file: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    mine, whole = add_key(file, "mine", where="tenant = 'a'"), add_key(file, "whole")
    models = load_models(*pair_models, {}, opened, Placement("cpu", "float32"))
    service = Service({"main": opened}, models, Limits(k=50))
    with live(service, Metrics(), Keys(file)) as address:
        paths = json.loads(_read(f"{address}/openapi.json"))["paths"]
        yield address, dict.fromkeys(paths, mine) | {"/metrics": whole}


def _read(url: str) -> bytes:
    import httpx2

    return bytes(httpx2.get(url, timeout=60).content)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_answer_is_one_that_the_description_has(
    served: tuple[str, dict[str, str]], mode: str
) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    address, keys = served
    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.negative_data_rejection,
    ]
    description = schemathesis.openapi.from_url(f"{address}/openapi.json")
    asked, wrong = 0, ""
    for found in description.get_all_operations():
        operation = found.ok()
        takes = operation.body or operation.query or operation.path_parameters
        if mode == "negative" and not takes:
            continue

        @settings(
            max_examples=_EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(schemathesis.GenerationMode(mode)))
        def check(case: Any) -> None:
            nonlocal asked
            headers = {"authorization": f"Bearer {keys[case.operation.path]}"}
            answer = case.call_and_validate(headers=headers, checks=wanted)
            asked += 1
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]
                assert answer.json()["status"] == answer.status_code
            assert f"{SECRET}-".encode() not in answer.content

        try:
            check()
        except BaseException as error:  # A group of failures, each with its request.
            wrong += f"{operation.label}: {''.join(traceback.format_exception_only(error))}\n"
    assert not wrong, wrong
    assert asked > _EXAMPLES
