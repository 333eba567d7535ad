"""The service: its stores, its models, and the rights, limits and deadlines of each request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pipeline.serving.core.admission import Admission
from pipeline.serving.core.errors import NotFound, TooLate
from pipeline.serving.core.models import Models, Prediction, load_models
from pipeline.serving.core.observer import Observer
from pipeline.serving.core.requests import Access, SearchRequest, check_inputs
from pipeline.serving.core.results import SearchResult
from pipeline.serving.core.served_store import ServedStore
from pipeline.serving.core.snapshots import Snapshots, open_sound
from pipeline.serving.core.stages import Stages, Vector
from pipeline.serving.core.token_ids import Input
from pipeline.serving.options import Limits, ServeOptions
from transforms.errors import BadInput
from transforms.search.store import Store

T = TypeVar("T")
ANYONE = Access()


@dataclass(frozen=True)
class StoreSummary:
    """A store of the service.

    Attributes:
        name: what clients call it.
        snapshot: the number of the newest snapshot in use.
        created: when that was committed.
        documents, passages: how many the client may see.
        model: the name of its model.
        dim: the width of its vectors.
        columns: type of each metadata column, by its name.
        modes: the ways to rank.
    """

    name: str
    snapshot: int
    created: str
    documents: int
    passages: int
    model: str
    dim: int
    columns: dict[str, str]
    modes: list[str]


class Service:
    """Everything that answers requests. Its async methods are called in one event loop.

    Attributes:
        stores: the stores by name.
        models: the models beside the encoder.
        limits: what requests may ask for.
        admission: the count of requests in progress.
    """

    def __init__(
        self,
        stores: dict[str, Store],
        models: Models,
        limits: Limits,
        observer: Observer | None = None,
    ) -> None:
        """Open the files of the stores, and start the threads.

        Raises:
            AlbeamError: a store can't be used.
        """
        self.limits, self.models = limits, models
        self.admission = Admission(limits.queue)
        observer = observer or Observer()
        self.stores: dict[str, ServedStore] = {}
        for name, store in stores.items():
            stages = Stages(limits, self.admission, observer)
            self.stores[name] = ServedStore(name, Snapshots(store), stages, models, observer)

    @classmethod
    def open(cls, options: ServeOptions, observer: Observer | None = None) -> "Service":
        """Open the stores and load the models that are named; raises AlbeamError."""
        placement = options.placement
        device, dtype = placement.device, placement.dtype
        opened: Callable[..., Store] = partial(
            Store.open, device=device, dtype=dtype, model=options.model
        )
        if options.workers > 1 and options.follow is not None:
            # A process that takes the place of a dead one serves what the others serve.
            opened = partial(open_sound, opened=opened)
        stores = {name: opened(url) for name, url in options.stores.items()}
        first = next(iter(stores.values()))
        models = load_models(options.reader, options.reranker, options.heads, first, placement)
        models.warm_up(first.encoder)
        return cls(stores, models, options.limits, observer)

    def close(self) -> None:
        """End the threads."""
        for store in self.stores.values():
            store.stages.close()

    def visible(self, access: Access = ANYONE) -> list[ServedStore]:
        """Return the stores that a client may use."""
        return [each for each in self.stores.values() if access.store in (None, each.name)]

    def store(self, name: str | None, access: Access = ANYONE) -> ServedStore:
        """Return a store, by default the first one that the client may use; raises NotFound."""
        known = {each.name: each for each in self.visible(access)}
        if not known:
            raise NotFound("store", access.store, "is not served", "Ask who gave the key")
        if name is None:
            return next(iter(known.values()))
        if name not in known:
            problem = f"is not served, only {', '.join(known)}"
            raise NotFound("store", name, problem, "Give another name")
        return known[name]

    async def search(
        self, request: SearchRequest, store: str | None = None, access: Access = ANYONE
    ) -> SearchResult:
        """Answer a search; see `ServedStore.search`."""
        served = self.store(store, access)
        request.check(self.limits)
        return await self._within_limits(served.search(request, access))

    async def document(
        self,
        identity: str,
        store: str | None = None,
        access: Access = ANYONE,
        snapshot: int | None = None,
    ) -> dict[str, object]:
        """Return a document; see `ServedStore.document`."""
        served = self.store(store, access)
        return await self._within_limits(served.document(identity, access, snapshot))

    async def embed(
        self,
        inputs: Sequence[Input],
        is_query: bool = False,
        store: str | None = None,
        access: Access = ANYONE,
    ) -> tuple[list[Vector], int]:
        """Return the vectors of texts or of lists of token ids, and their number of tokens."""
        check_inputs("input", inputs, self.limits)
        served = self.store(store, access)
        return await self._within_limits(served.embed(inputs, is_query))

    async def predict(
        self, head: str, texts: Sequence[str], access: Access = ANYONE
    ) -> list[Prediction]:
        """Return what a head says of texts."""
        check_inputs("input", texts, self.limits)
        served = next(iter(self.stores.values()))
        if served not in self.visible(access):
            # Heads belong to the first store, whose name such a client must not learn.
            raise NotFound("head", head, "is not there, only none", "Give another name")
        chosen = self.models.head(head)
        encoder = served.snapshots.current.store.encoder
        call = partial(chosen.predict, texts, encoder)
        return list(await self._within_limits(served.stages.models.run(call)))

    async def rerank(
        self, query: str, documents: Sequence[str], access: Access = ANYONE
    ) -> list[float]:
        """Return how well each document answers a query, by the reranker."""
        check_inputs("query", [query], self.limits)
        check_inputs("documents", documents, self.limits)
        served = self.store(None, access)
        pairs = [(query, document) for document in documents]
        call = partial(self.models.reranker.scores, pairs)
        scores = await self._within_limits(served.stages.models.run(call))
        return [float(score) for score in scores]

    async def summaries(self, access: Access = ANYONE) -> list[StoreSummary]:
        """Return the stores that a client may use."""
        return await self._within_limits(self._summaries(access))

    async def _summaries(self, access: Access) -> list[StoreSummary]:
        return [await _summary(each, access) for each in self.visible(access)]

    async def _within_limits(self, answer: Awaitable[T]) -> T:
        """Await an answer; raises Overloaded or TooLate."""
        started = time.monotonic()
        task = asyncio.ensure_future(answer)
        try:
            with self.admission.enter():
                async with asyncio.timeout(self.limits.seconds):
                    return await task
        except TimeoutError as error:
            seconds = time.monotonic() - started
            problem = f"took more than {self.limits.seconds:g} seconds"
            remedy = "Ask for less, or again later"
            raise TooLate("request", f"after {seconds:.1f} s", problem, remedy) from error
        finally:
            task.cancel()


async def _summary(served: ServedStore, access: Access) -> StoreSummary:
    number, passages, documents = await served.count(access)
    store = served.snapshots.current.store
    identity = store.snapshot.identity
    try:
        modes = ["hybrid", "dense", "lexical"] if store.mode("hybrid") else []
    except BadInput:
        modes = ["dense"]
    return StoreSummary(
        served.name,
        number,
        str(store.snapshot.created),
        documents,
        passages,
        model_name(identity.name),
        identity.dim,
        {field.name: str(field.type) for field in store.columns},
        modes,
    )


def model_name(name: str) -> str:
    """Return what clients call a model: its name on a hub, or that of its folder."""
    return name.rstrip("/").rsplit("/", 1)[-1]
