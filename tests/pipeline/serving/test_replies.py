"""Answers are written as the command line writes them, and no route waits for a pool of threads."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi.routing import APIRoute

from pipeline.command_line.console import json_text
from pipeline.serving.core.batcher import Batcher, BatchRules
from pipeline.serving.core.requests import SearchRequest
from pipeline.serving.core.service import Service
from pipeline.serving.http import model_routes, search_routes, status_routes
from pipeline.serving.http.context import reply


@pytest.mark.parametrize(
    "value",
    [
        1.5, float("nan"), float("-inf"), 2**70, -3, True, None, "Fluß\n\u2028", b"\x00\xff",
        Decimal("1.50"), date(1969, 7, 20), datetime(1969, 7, 20, 20, 17, 40, 5),
        datetime(1969, 7, 20, tzinfo=UTC), time(20, 17), timedelta(days=2, microseconds=5),
        [("a", 1), ("b", [float("inf")])], {"a": {"b": (1, b"x")}},
    ],
    ids=repr,
)  # fmt: skip
def test_an_answer_has_the_values_of_the_command_line(value: Any) -> None:
    given = {"results": [{"hits": [{"metadata": {"column": value}}]}]}
    answer = reply(given)
    assert answer.media_type == "application/json"
    assert json.loads(bytes(answer.body)) == json.loads(json_text(given))


def test_half_of_a_surrogate_pair_is_written() -> None:
    assert json.loads(bytes(reply({"text": "a\ud800"}).body)) == {"text": "a\ud800"}


def test_no_dependency_of_a_route_runs_in_another_thread() -> None:
    found = 0
    for module in (search_routes, model_routes, status_routes):
        for route in module.router.routes:
            assert isinstance(route, APIRoute)
            assert asyncio.iscoroutinefunction(route.endpoint)
            for each in route.dependant.dependencies:
                assert asyncio.iscoroutinefunction(each.call), each.call
                found += 1
    assert found > 5


def test_what_is_asked_in_one_turn_of_the_loop_goes_together() -> None:
    sizes: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return [10 * item for item in items]

    async def ask() -> list[int]:
        batcher: Batcher[int, int] = Batcher("test", work, BatchRules(64, 0, 2))
        try:
            return await asyncio.gather(*map(batcher.run, range(12)))
        finally:
            batcher.close()

    assert asyncio.run(ask()) == [10 * item for item in range(12)]
    assert sizes == [12]


def test_each_question_of_a_batch_has_its_own_notes(service: Service) -> None:
    texts = ("river", "word " * 500, "bee")

    async def ask() -> list[list[str]]:
        found = await service.search(SearchRequest(texts, 3))
        lexical = await service.search(SearchRequest(texts, 3, "lexical"))
        assert [each.notes for each in lexical.results] == [[], [], []]
        return [each.notes for each in found.results]

    notes = asyncio.run(ask())
    assert [bool(each) for each in notes] == [False, True, False]
    assert notes[1][0].startswith("The question is longer than")
