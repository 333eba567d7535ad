"""The service without HTTP: the answers of a store, in batches, within limits."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pipeline.serving.core.errors import NotFound, Overloaded, TooLarge, TooLate
from pipeline.serving.core.models import Models, load_models
from pipeline.serving.core.observer import Observer
from pipeline.serving.core.requests import SearchRequest
from pipeline.serving.core.service import Service
from pipeline.serving.options import Limits, ServeOptions
from tests.support.models import make_texts
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.more_like import search_like
from transforms.search.options import RankOptions
from transforms.search.question_encoder import full_encoder
from transforms.search.reading import Reading
from transforms.search.reading_options import ReadingOptions
from transforms.search.store import Store

QUESTIONS = ("river stone", "a winter garden", "music of the market")
WHERE = ("year >= ? AND list_contains(tags, ?)", [2002, "t1"])


class Counted(Observer):
    """The stages and batches that a service told of."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.batches: dict[str, list[int]] = {}

    def stage(self, stage: str, seconds: float) -> None:
        assert seconds >= 0
        self.stages.append(stage)

    def batch(self, stage: str, items: int) -> None:
        self.batches.setdefault(stage, []).append(items)


def plain(hits: Sequence[Sequence[Any]]) -> list[list[dict[str, Any]]]:
    return [[asdict(hit) for hit in some] for some in hits]


def check_alike(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare hits; the last bits of scores may depend on the batch."""
    assert [hit["document_id"] for hit in found] == [hit["document_id"] for hit in expected]
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            expectation = pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
            assert one[name] == expectation


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize("more", [{}, {"where": WHERE}, {"k": 3, "offset": 4, "diverse": True}])
def test_a_search_finds_what_the_store_finds(
    service: Service, opened: Store, mode: str, more: dict[str, Any]
) -> None:
    request = SearchRequest(QUESTIONS, mode=mode, **more)
    result = asyncio.run(service.search(request))
    expected = plain(opened.search(QUESTIONS, mode=mode, **more))
    assert (result.store, result.snapshot, result.mode) == ("main", 1, mode)
    assert [each.question for each in result.results] == list(QUESTIONS)
    for found, hits in zip(result.results, expected, strict=True):
        check_alike(found.hits, hits)
    stages = {"filter", "search", "fetch"} | (set() if mode == "lexical" else {"encode"})
    assert set(result.milliseconds) == stages


def test_questions_of_many_requests_are_embedded_and_ranked_together(opened: Store) -> None:
    counted = Counted()
    service = Service({"main": opened}, Models(), Limits(), counted)
    texts = make_texts(40, seed=5, longest=8)

    async def run() -> list[Any]:
        jobs = (service.search(SearchRequest((text,), 5)) for text in texts)
        return list(await asyncio.gather(*jobs))

    results = asyncio.run(run())
    for text, result in zip(texts, results, strict=True):
        check_alike(result.results[0].hits, plain(opened.search([text], 5))[0])
    assert len(counted.batches["encode"]) < 20
    assert sum(counted.batches["encode"]) == sum(counted.batches["fetch"]) == 40
    assert max(counted.batches["search"]) > 1
    service.close()


def test_equal_questions_have_equal_scores_whatever_comes_with_them(opened: Store) -> None:
    service = Service({"main": opened}, Models(), Limits())
    texts = make_texts(30, seed=6, longest=30)

    async def run() -> tuple[list[Any], list[Any]]:
        alone = [await service.search(SearchRequest((text,), 5)) for text in texts]
        # Heads and large requests load torch.
        full_encoder(opened.encoder)
        jobs = (service.search(SearchRequest((text,), 5)) for text in texts)
        return alone, list(await asyncio.gather(*jobs))

    alone, together = asyncio.run(run())
    assert [each.results for each in alone] == [each.results for each in together]
    service.close()


@pytest.mark.parametrize("unlike", [(), ("doc-005",)])
def test_documents_like_some_are_those_of_the_store(
    service: Service, opened: Store, unlike: tuple[str, ...]
) -> None:
    like = ("doc-001", "doc-010")
    request = SearchRequest(like=like, unlike=unlike, k=4, offset=2, where="year > 2001")
    [found] = asyncio.run(service.search(request)).results
    options = RankOptions(4, "dense", "year > 2001", offset=2)
    check_alike(found.hits, plain(search_like(opened, like, unlike, options))[0])


def test_reader_and_reranker_give_what_the_command_line_gives(
    opened: Store, pair_models: tuple[str, str]
) -> None:
    placement = Placement("cpu", "float32")
    models = load_models(*pair_models, {}, opened, placement)
    service = Service({"main": opened}, models, Limits())
    request = SearchRequest(QUESTIONS, k=4, offset=1, rerank=8, read=True)
    results = asyncio.run(service.search(request)).results
    options = ReadingOptions(8, pair_models[1], pair_models[0], placement=placement)
    ranked = RankOptions(4, "hybrid", offset=1)
    for found, (hits, answers) in zip(
        results, Reading(options).search(opened, QUESTIONS, ranked), strict=True
    ):
        assert len(found.hits) == 4
        check_alike([{k: v for k, v in hit.items() if k != "answer"} for hit in found.hits],
                    plain([hits])[0])  # fmt: skip
        assert [hit["answer"]["text"] for hit in found.hits] == [each.text for each in answers]
    scores = asyncio.run(service.rerank("river", ["a river", "stone"]))
    assert scores == pytest.approx(
        models.reranker.scores([("river", "a river"), ("river", "stone")]).tolist()
    )
    service.close()


def test_a_head_predicts_what_its_command_predicts(
    opened: Store, tenants: Path, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.cli import main

    ids = [f"doc-{n:03d}" for n in range(60)]
    labels = pa.table({"id": ids, "label": [f"class {n % 2}" for n in range(60)]})
    pq.write_table(labels, tmp_path / "labels.parquet")
    head = str(tmp_path / "head")
    assert main(["classify", str(tenants), str(tmp_path / "labels.parquet"), "--output", head]) == 0
    models = load_models(None, None, {"kind": head}, opened, Placement("cpu", "float32"))
    service = Service({"main": opened}, models, Limits())
    texts = ["river stone", "window"]
    found = asyncio.run(service.predict("kind", texts))
    for each in found:
        assert sum(each.scores.values()) == pytest.approx(1, abs=1e-5)
        assert each.label == max(each.scores, key=each.scores.__getitem__)
        assert each.labels == [each.label]
    again = asyncio.run(service.predict("kind", texts[1:]))
    assert again[0].scores == pytest.approx(found[1].scores, abs=1e-4)
    with pytest.raises(NotFound):
        asyncio.run(service.predict("other", texts))
    service.close()


def test_heads_load_what_they_need_before_the_first_request(
    tenants: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told:
        name = "kind"
        asked: ClassVar[list[str]] = []

        def predict(self, texts: Sequence[str], encoder: Any) -> list[Any]:
            assert encoder.encode_texts(list(texts)).shape == (1, 48)
            self.asked += texts
            return []

    def load(*_: Any) -> Models:
        head: Any = Told()
        return Models(heads=[head])

    monkeypatch.setattr("pipeline.serving.core.service.load_models", load)
    Service.open(ServeOptions({"main": str(tenants)}, placement=Placement("cpu"))).close()
    assert len(Told.asked) == 1


@pytest.mark.parametrize(("task", "option"), [("read", "--reader"), ("rank", "--reranker")])
def test_a_network_that_reads_questions_is_no_head(
    opened: Store, tmp_path: Path, task: str, option: str
) -> None:
    head = {"kind": "network", "task": task, "version": 1}
    (tmp_path / "head.json").write_text(json.dumps(head), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_models(None, None, {"reads": str(tmp_path)}, opened, Placement("cpu"))
    assert (caught.value.option, caught.value.remedy) == ("head", f"Give it as {option}")


def test_documents_have_all_their_passages(service: Service, opened: Store) -> None:
    [hits] = opened.search(["river"], 60)
    longest = max(hits, key=lambda hit: hit.passage).document_id
    found = asyncio.run(service.document(longest))
    passages: Any = found["passages"]
    assert [each["passage"] for each in passages] == list(range(len(passages)))
    assert len(passages) > 1
    assert found["metadata"] == next(h.metadata for h in hits if h.document_id == longest)
    for odd in ("gone", "", "\ud800", "' OR true --"):
        with pytest.raises(NotFound):
            asyncio.run(service.document(odd))


def test_embeddings_are_those_of_the_model(service: Service, opened: Store) -> None:
    texts = make_texts(30, seed=9)
    for is_query in (False, True):
        vectors, tokens = asyncio.run(service.embed(texts, is_query))
        assert tokens == opened.encoder.tokenizer.encode(texts).bounds[-1]
        np.testing.assert_allclose(vectors, opened.encoder.encode_texts(texts), atol=1e-5)
    tokenized = opened.encoder.tokenizer.encode(texts)
    pieces = zip(tokenized.bounds, tokenized.bounds[1:], strict=False)
    lists = [tokenized.ids[start:stop].tolist() for start, stop in pieces]
    again, counted = asyncio.run(service.embed([*lists, texts[0]]))
    np.testing.assert_allclose(again[:-1], vectors, atol=1e-5)
    assert counted == tokens + len(lists[0])
    for bad in ([], ["a", " "], ["\ud800"], [[]], [[-1]], [[5, 10**9]]):
        with pytest.raises(BadInput):
            asyncio.run(service.embed(bad))


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"questions": ()}, "question"),
        ({"like": ("doc-001",)}, "question"),
        ({"questions": (" ",)}, "question 0"),
        ({"questions": ("\ud800",)}, "question 0"),
        ({"k": 0}, "k"),
        ({"k": 1_000_000}, "k"),
        ({"offset": 999}, "k"),
        ({"offset": -1}, "offset"),
        ({"mode": "magic"}, "mode"),
        ({"fusion": "magic"}, "fusion"),
        ({"weight": 2.0}, "weight"),
        ({"mode": "dense", "weight": 0.5}, "weight"),
        ({"where": "nothing = 1"}, "where"),
        ({"where": ("year = ?", [])}, "where"),
        ({"rerank": 5}, "rerank"),
        ({"read": True}, "reader"),
        ({"no_answer": True}, "no_answer"),
        ({"unlike": ("doc-001",)}, "unlike"),
        ({"snapshot": 99}, "snapshot"),
        ({"questions": ("x",) * 257}, "question"),
        ({"questions": ("x" * 8_193,)}, "question"),
    ],
)
def test_a_wrong_request_is_refused_by_its_option(
    service: Service, changes: dict[str, Any], option: str
) -> None:
    with pytest.raises(BadInput) as caught:
        asyncio.run(service.search(SearchRequest(**({"questions": ("river",)} | changes))))
    assert caught.value.option == option
    assert len(asyncio.run(service.search(SearchRequest(("river",)))).results[0].hits) == 10


def test_another_store_and_a_long_text_are_refused(service: Service) -> None:
    with pytest.raises(NotFound):
        asyncio.run(service.search(SearchRequest(("river",)), "other"))
    with pytest.raises(TooLarge):
        asyncio.run(service.embed(["x" * 100_001]))


class SlowStore(Store):
    """A store whose model takes its time."""

    seconds = 0.5
    asked = 0

    @property
    def encoder(self) -> Any:
        real = super().encoder
        outer = self

        class Slow:
            tokenizer = real.tokenizer

            def encode_texts(self, texts: list[str], prompt: str) -> np.ndarray:
                SlowStore.asked += len(texts)
                time.sleep(outer.seconds)
                return np.asarray(real.encode_texts(texts, prompt))

        return Slow()


@pytest.fixture(scope="module")
def slow(tenants: Path) -> Store:
    return SlowStore.open(str(tenants), device="cpu", dtype="float32")


def test_the_queue_is_bounded_and_words_do_not_wait_for_vectors(slow: Store) -> None:
    service = Service({"main": slow}, Models(), Limits(queue=3))

    async def run() -> None:
        request = SearchRequest(("river",), 1)
        some = [asyncio.create_task(service.search(request)) for _ in range(2)]
        await asyncio.sleep(0.1)
        started = time.monotonic()
        found = await service.search(replace(request, mode="lexical"))
        assert time.monotonic() - started < SlowStore.seconds
        assert found.mode == "lexical"
        third = asyncio.create_task(service.search(request))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await service.search(request)
        await asyncio.gather(*some, third)
        assert service.admission.inside == 0
        await service.search(request)

    asyncio.run(run())
    service.close()


def test_a_request_that_takes_too_long_ends_and_so_does_one_whose_client_is_gone(
    slow: Store,
) -> None:
    service = Service({"main": slow}, Models(), Limits(seconds=0.2))

    async def run() -> None:
        before = SlowStore.asked
        request = SearchRequest(("river",), 1)
        with pytest.raises(TooLate):
            await service.search(request)
        first = asyncio.create_task(service.search(request))
        await asyncio.sleep(0.02)
        gone = asyncio.create_task(service.search(request))
        await asyncio.sleep(0.02)
        gone.cancel()
        first.cancel()
        await asyncio.gather(gone, first, return_exceptions=True)
        await asyncio.sleep(2 * SlowStore.seconds + 0.3)
        # The first question, and at most the second one: nobody waited for the third.
        assert SlowStore.asked - before <= 2
        assert service.admission.inside == 0

    asyncio.run(run())
    service.close()
