"""A client that may see only some rows learns nothing of others, whatever it asks."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from pipeline.serving.core.errors import Broken, NotFound
from pipeline.serving.core.models import Models
from pipeline.serving.core.requests import Access, SearchRequest
from pipeline.serving.core.service import Service
from pipeline.serving.core.stages import Filter
from pipeline.serving.options import Limits
from tests.pipeline.serving.conftest import ONLY_A, SECRET, TRAP
from transforms.errors import AlbeamError, BadInput
from transforms.search.condition import Condition
from transforms.search.store import Store


def search(service: Service, access: Access = ONLY_A, **options: Any) -> list[dict[str, Any]]:
    given = options if "like" in options else {"questions": (SECRET,)} | options
    return asyncio.run(service.search(SearchRequest(**given), access=access)).results[0].hits


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize(
    "where",
    [
        None,
        "true OR tenant = 'b'",
        "tenant = 'b' OR tenant = 'a'",
        ("tenant = $who OR true", {"who": "b"}),
        "true -- a comment",
        "true /* a comment */",
        "COLUMNS(['tenant', 'secret']) IS NOT NULL",
        TRAP,
        "now() > '2020-01-01'",
        "random() < 2",
    ],
)
def test_no_search_finds_rows_of_others(service: Service, mode: str, where: Any) -> None:
    hits = search(service, mode=mode, where=where, k=60)
    assert {hit["metadata"]["tenant"] for hit in hits} <= {"a"}
    assert SECRET not in str(hits)
    if mode == "dense":
        assert len(hits) == 40


@pytest.mark.parametrize(
    "where",
    [
        "true) OR (true",
        "true)) OR ((true",
        "true\n) OR (\ntrue",
        "true UNION SELECT true",
        "true; SELECT true",
        "tenant = 'a' ORDER BY 1",
        'EXISTS (SELECT 1 FROM "albeam rows")',
        "secret IN (SELECT secret FROM docs)",
    ],
)
def test_no_condition_leaves_the_one_of_the_key(service: Service, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        search(service, where=where)
    assert caught.value.option == "where"
    assert "tenant = 'a'" not in str(caught.value).replace(where, "")


def test_errors_depend_on_visible_rows_alone(service: Service) -> None:
    """A condition that fails on a row tells its value, and that there is such a row."""
    with pytest.raises(BadInput, match=SECRET):
        search(service, replace(ONLY_A, where=None), where=TRAP)
    probe = "CASE WHEN secret LIKE 'hunter2-1%' THEN CAST('x' || secret AS INT) ELSE 1 END = 1"
    assert len(search(service, where=probe, mode="dense", k=60)) == 40
    with pytest.raises(BadInput, match="nothing"):
        search(service, where="nothing = 1")


def of_error(call: Any) -> tuple[type, str, str, str]:
    with pytest.raises(AlbeamError) as caught:
        asyncio.run(call)
    error = caught.value
    return type(error), error.option, error.problem, error.remedy


def test_a_foreign_document_is_like_one_that_is_not_there(service: Service) -> None:
    assert asyncio.run(service.document("doc-001", access=ONLY_A))["document_id"] == "doc-001"
    foreign, gone = (service.document(name, access=ONLY_A) for name in ("doc-003", "doc-999"))
    assert of_error(foreign) == of_error(gone)
    for option in ("like", "unlike"):
        errors = []
        for name in ("doc-003", "doc-999"):
            ids = {"like": ("doc-001",)} | {option: (name,)}
            errors.append(of_error(service.search(SearchRequest(**ids), access=ONLY_A)))
        assert errors[0] == errors[1]
        assert errors[0][1] == option
    hits = search(service, like=("doc-001",), k=60)
    assert len(hits) == 39
    assert {hit["metadata"]["tenant"] for hit in hits} == {"a"}


def test_pages_of_older_snapshots_have_the_condition_too(service: Service) -> None:
    assert len(search(service, snapshot=1, mode="dense", k=60)) == 40
    assert len(search(service, mode="dense", k=60, offset=30)) == 10


def test_summaries_count_what_is_visible(service: Service) -> None:
    [mine] = asyncio.run(service.summaries(ONLY_A))
    [whole] = asyncio.run(service.summaries())
    assert (mine.documents, whole.documents) == (40, 60)
    assert mine.passages < whole.passages


def test_a_key_for_a_store_sees_no_other(opened: Store, service: Service) -> None:
    other = replace(ONLY_A, store="other")
    assert service.visible(other) == []
    for access in (other, replace(ONLY_A, store="main")):
        for name in ("other", "none"):
            with pytest.raises(NotFound):
                asyncio.run(service.search(SearchRequest(("river",)), name, access))
    with pytest.raises(NotFound):
        asyncio.run(service.document("doc-001", access=other))
    assert asyncio.run(service.summaries(other)) == []


def test_a_condition_that_fails_shows_nothing_and_is_not_told(service: Service) -> None:
    for text in ("owner = 'a'", "CAST(secret AS INT) = 1", "tenant ="):
        broken = replace(ONLY_A, where=Condition(text))
        for call in (
            service.search(SearchRequest(("river",)), access=broken),
            service.document("doc-001", access=broken),
            service.summaries(broken),
        ):
            kind, option, problem, remedy = of_error(call)
            assert (kind, option) == (Broken, "key")
            assert text not in problem + remedy
            assert SECRET not in problem + remedy


def test_a_key_for_another_store_learns_neither_heads_nor_the_name_of_their_store(
    opened: Store,
) -> None:
    service = Service({"secret": opened, "mine": opened}, Models(), Limits())
    service.models.heads["topic"] = object()  # type: ignore[assignment]
    limited = Access("client", store="mine", operator=False)
    seen = [of_error(service.predict(head, ["river"], limited)) for head in ("topic", "none")]
    assert seen[0] == seen[1]
    assert seen[0][0] is NotFound
    assert "secret" not in str(seen)
    assert "topic" not in str(seen)
    # A head that is there is told to those who may use it.
    assert "topic" in str(of_error(service.predict("none", ["river"])))
    service.close()


def test_the_words_of_a_long_question_are_not_chosen_by_what_others_have(service: Service) -> None:
    absent = [f"absent{number}" for number in range(80)]
    long, short = " ".join([*absent, "river"]), "absent river"
    whole = replace(ONLY_A, where=None)
    for question, mine in ((long, False), (short, True)):
        asked = {"questions": (question,), "mode": "lexical"}
        assert bool(search(service, **asked)) is mine
        assert search(service, whole, **asked)


def test_a_condition_that_is_known_does_not_wait_for_slow_ones(service: Service) -> None:
    go_on = threading.Event()

    class Held:
        def __init__(self) -> None:
            self.store = self.live = self

        def count(self, where: Condition) -> int:
            assert go_on.wait(60)
            return 0

    async def run() -> None:
        request = SearchRequest(("river",), 1)
        await service.search(request, access=ONLY_A)
        filters = service.stores["main"].stages.filters
        held: Any = Held()
        slow = [filters.run(Filter(held, Condition("true"))) for _ in range(2)]
        tasks = [asyncio.create_task(each) for each in slow]
        await asyncio.sleep(0.05)
        try:
            found = await asyncio.wait_for(service.search(request, access=ONLY_A), 20)
        finally:
            go_on.set()
        assert await asyncio.gather(*tasks) == [0, 0]
        assert len(found.results[0].hits) == 1

    asyncio.run(run())
