"""One store of the service: searches, documents and embeddings, for clients with their rights."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.serving.core.errors import Broken
from pipeline.serving.core.lookups import count_rows, find_document, point_to
from pipeline.serving.core.models import Models
from pipeline.serving.core.observer import Observer
from pipeline.serving.core.requests import Access, SearchRequest
from pipeline.serving.core.results import Found, SearchResult
from pipeline.serving.core.snapshots import ServedSnapshot, Snapshots
from pipeline.serving.core.stages import Filter, Question, Rows, Stages, Text, Vector
from pipeline.serving.core.token_ids import Input, check_ids, count_tokens
from transforms.errors import AlbeamError, BadInput
from transforms.search.condition import Condition
from transforms.search.options import RankOptions, check_fusion
from transforms.search.results import Hit
from transforms.search.snapshot_reader import check_texts

if TYPE_CHECKING:
    from transforms.search.store import Store


class ServedStore:
    """A store that many clients ask at once, in one event loop."""

    def __init__(
        self, name: str, snapshots: Snapshots, stages: Stages, models: Models, observer: Observer
    ) -> None:
        """Hold what answers; ``name`` is what clients call the store."""
        self.name, self.snapshots, self.stages, self.models = name, snapshots, stages, models
        self._observer = observer

    async def search(self, request: SearchRequest, access: Access) -> SearchResult:
        """Answer a search.

        Raises:
            BadInput: an option can't be used, or there is no such snapshot or document.
            Broken: the condition of the key can't be evaluated.
        """
        clock = _Clock(self._observer)
        with clock.stage("filter"):
            snapshot = await self._snapshot(request.snapshot)
            store = snapshot.store
            options, candidates = self._options(store, request)
            check_texts(request.questions)
            where = await self._visible(snapshot, request, access)
        options = replace(options, where=where)
        candidates = replace(candidates, where=where)
        notes: list[list[str]] = [[]]
        if request.like:
            hits = [await self._like(snapshot, request, candidates, access, clock)]
        else:
            limited = access.where is not None
            hits, notes = await self._ranked(
                snapshot, request.questions, candidates, limited, clock
            )
        every = [[dict(vars(hit)) for hit in some] for some in hits]
        if request.rerank is not None or request.read:
            with clock.stage("models"):
                read = partial(self._read, request, options)
                jobs = zip(request.questions, hits, strict=True)
                every = [await self.stages.models.run(partial(read, *each)) for each in jobs]
        texts = request.questions or ("",)
        return SearchResult(
            self.name,
            snapshot.number,
            options.mode,
            [Found(*each) for each in zip(texts, every, notes, strict=True)],
            clock.milliseconds,
        )

    async def document(
        self, identity: str, access: Access, number: int | None = None
    ) -> dict[str, Any]:
        """Return a document: its id, metadata, passages, and the snapshot.

        Raises:
            NotFound: there is none that the client may see.
        """
        snapshot = await self._snapshot(number)
        where = await self._within(snapshot, access)
        find = partial(find_document, snapshot.store, identity, where)
        found: dict[str, Any] = await self.stages.others.run(find)
        return {"store": self.name, "snapshot": snapshot.number} | found

    async def embed(self, inputs: Sequence[Input], is_query: bool) -> tuple[list[Vector], int]:
        """Return the vectors of texts, as passages or as questions, and their number of tokens."""
        snapshot = self.snapshots.current
        identity, encoder = snapshot.store.snapshot.identity, snapshot.store.encoder
        check_ids(encoder, inputs)
        prompt = identity.query_prompt if is_query else identity.passage_prompt
        jobs = (self.stages.texts.run(Text(snapshot, given, prompt)) for given in inputs)
        counted = self.stages.others.run(partial(count_tokens, encoder, inputs))
        tokens, *vectors = await asyncio.gather(counted, *jobs)
        return vectors, tokens

    async def count(self, access: Access) -> tuple[int, int, int]:
        """Return the newest snapshot, and the passages and documents that a client may see."""
        snapshot = self.snapshots.current
        where = await self._within(snapshot, access)
        live = snapshot.store.snapshot
        if where is None:
            return snapshot.number, live.passages, live.documents
        counted = partial(count_rows, snapshot.store, where)
        return snapshot.number, *await self.stages.others.run(counted)

    def _options(self, store: "Store", request: SearchRequest) -> tuple[RankOptions, RankOptions]:
        """Return the options of a search, and those of the candidates for the reranker."""
        mode = store.mode("dense" if request.like and request.mode is None else request.mode)
        if request.like and mode != "dense":
            problem = "ranks by words, and like gives none"
            raise BadInput("mode", mode, problem, "Use mode dense")
        given = request
        ways = None, given.fusion, given.weight, given.diverse
        options = RankOptions(given.k, mode, *ways, given.offset)
        check_fusion(options, (mode,))
        if given.read:
            _ = self.models.reader
        if given.rerank is None:
            return options, options
        _ = self.models.reranker
        return options, replace(options, k=given.rerank, offset=0)

    async def _snapshot(self, number: int | None) -> ServedSnapshot:
        if number is None or number == self.snapshots.current.number:
            return self.snapshots.current
        opened = await self.stages.others.run(partial(self.snapshots.at, number))
        assert isinstance(opened, ServedSnapshot)
        return opened

    async def _within(self, snapshot: ServedSnapshot, access: Access) -> Condition | None:
        """Return the condition of a key as it is now, evaluated; None if all rows are visible."""
        if access.where is None:
            return None
        try:
            within = snapshot.store.live.condition((access.where.text, access.where.values))
            assert within is not None
            await self._evaluate(snapshot, within)
        except AlbeamError as error:
            # The client must not learn the condition, and must not see more without it.
            problem = "has a condition that can't be evaluated on this store"
            raise Broken("key", access.name, problem, "Ask who gave the key") from error
        return within

    async def _visible(
        self, snapshot: ServedSnapshot, request: SearchRequest, access: Access
    ) -> Condition | None:
        """Return the condition of a key and of a request, evaluated."""
        within = await self._within(snapshot, access)
        where = snapshot.store.live.condition(request.where)
        if where is None:
            return within
        where = where.inside(within)
        await self._evaluate(snapshot, where)
        return where

    async def _evaluate(self, snapshot: ServedSnapshot, where: Condition) -> None:
        """Evaluate a condition; one whose rows are known does not wait for others."""
        kept = snapshot.store.live.is_kept(where)
        self._observer.condition(kept)
        if not kept:
            await self.stages.filters.run(Filter(snapshot, where))

    async def _ranked(
        self,
        snapshot: ServedSnapshot,
        questions: Sequence[str],
        options: RankOptions,
        limited: bool,
        clock: "_Clock",
    ) -> tuple[list[list[Hit]], list[list[str]]]:
        """Return the hits of each question, and the notes on it."""
        vectors: Sequence[Vector | None] = [None] * len(questions)
        notes: list[list[str]] = [[] for _ in questions]
        if options.mode != "lexical":
            with clock.stage("encode"):
                prompt = snapshot.store.snapshot.identity.query_prompt
                jobs = (self.stages.questions.run(Text(snapshot, q, prompt)) for q in questions)
                embedded = await asyncio.gather(*jobs)
            vectors = [each.vector for each in embedded]
            notes = [each.notes for each in embedded]
        asked = [
            Question(snapshot, options, *each, limited)
            for each in zip(questions, vectors, strict=True)
        ]
        return await self._hits(asked, clock), notes

    async def _hits(self, asked: Sequence[Question], clock: "_Clock") -> list[list[Hit]]:
        with clock.stage("search"):
            ranked = await asyncio.gather(*map(self.stages.ranks.run, asked))
        with clock.stage("fetch"):
            offset, snapshot = asked[0].options.offset, asked[0].snapshot
            rows = (self.stages.rows.run(Rows(snapshot, each, offset)) for each in ranked)
            return list(await asyncio.gather(*rows))

    async def _like(
        self,
        snapshot: ServedSnapshot,
        request: SearchRequest,
        options: RankOptions,
        access: Access,
        clock: "_Clock",
    ) -> list[Hit]:
        """Return the hits that `more_like.search_like` finds among the visible documents."""
        given = {*request.like, *request.unlike}
        with clock.stage("encode"):
            within = await self._within(snapshot, access)
            ids = request.like, request.unlike
            vector = await self.stages.others.run(partial(point_to, snapshot.store, *ids, within))
        wider = replace(options, k=options.k + options.offset + len(given), offset=0)
        [found] = await self._hits([Question(snapshot, wider, "", vector)], clock)
        others = [hit for hit in found if hit.document_id not in given]
        page = others[options.offset : options.offset + options.k]
        return [replace(hit, rank=rank) for rank, hit in enumerate(page, options.offset + 1)]

    def _read(
        self, request: SearchRequest, options: RankOptions, question: str, hits: list[Hit]
    ) -> list[dict[str, Any]]:
        """Return the hits in the reranker's order, with the reader's answers."""
        ranking = options.mode
        if request.rerank is not None:
            from transforms.search.reranker import rerank

            ranking = self.models.reranker.digest
            last = options.offset + min(options.k, request.rerank)
            hits = rerank(hits, question, self.models.reranker)[options.offset : last]
        found = [dict(vars(hit)) for hit in hits]
        if request.read:
            from transforms.search.reader import read_answers

            reader = self.models.reader
            answers = read_answers(hits, question, reader, request.no_answer, ranking)
            for row, answer in zip(found, answers, strict=True):
                row["answer"] = None if answer is None else asdict(answer)
        return found


class _Clock:
    """The durations of the stages of one request."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.milliseconds[stage] = round(1_000 * seconds, 3)
        self._observer.stage(stage, seconds)
