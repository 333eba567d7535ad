"""The models that read texts beside the encoder: reader, reranker and heads."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.serving.core.errors import NotFound
from transforms.errors import BadInput
from transforms.ingest.options import PassageOptions
from transforms.models.options import Placement
from transforms.storage import filesystem

if TYPE_CHECKING:
    from transforms.encoder.encoding import TextEncoder
    from transforms.search.reader import Reader
    from transforms.search.reranker import Reranker
    from transforms.search.store import Store

_WORDS = "a first text"
#: The options for networks that read a question beside a text.
_OPTIONS = {"read": "--reader", "rank": "--reranker"}


@dataclass(frozen=True)
class Prediction:
    """What a head says of a text.

    Attributes:
        label: the best class; None if a text may have any number of them.
        labels: the classes of a text that may have any number of them, else the best one.
        scores: the probability of each class.
        entities: what a tagger finds in the text, with the names of its fields; it gives no class.
    """

    label: str | None
    labels: list[str]
    scores: dict[str, float]
    entities: list[dict[str, Any]] = field(default_factory=list)


class Head:
    """A head that classifies texts, or finds entities in them.

    It is one on the vectors of an encoder, or a whole network.
    """

    def __init__(self, name: str, folder: str, store: "Store", placement: Placement) -> None:
        """Load a head; raises BadInput if it can't be used, or is that of another encoder."""
        from transforms.tasks.networks.network_files import read_task

        self.name, folder = name, filesystem.absolute(folder)
        self._network: Any = None
        self._tagger: Any = None
        task = read_task(folder)
        if task == "tag":
            from transforms.tasks.networks.text_tagger import TextTagger

            self._tagger = TextTagger(folder, placement)
            self.classes = self._tagger.settings.classes
            return
        if task in _OPTIONS:
            problem = f"has a network for the task {task!r}, which classifies no texts"
            raise BadInput("head", folder, problem, f"Give it as {_OPTIONS[task]}")
        if task != "vector":
            from transforms.tasks.networks.text_classifier import TextClassifier

            self._network = TextClassifier(folder, placement)
            self.classes = self._network.settings.classes
            return
        from transforms.tasks.vector_heads.head_files import read_head

        self._head = read_head(folder)
        self._head.check_encoder(folder, store.snapshot.identity, store.url)
        self.classes = self._head.classes

    def predict(self, texts: Sequence[str], encoder: "TextEncoder") -> list[Prediction]:
        """Return what the head says of texts; raises BadInput if one can't be embedded."""
        if self._tagger is not None:
            found = self._tagger.entities(texts)
            return [Prediction(None, [], {}, [asdict(each) for each in some]) for some in found]
        if self._network is not None:
            scores = self._network.scores(texts)
        else:
            from transforms.search.question_encoder import full_encoder
            from transforms.tasks.prediction.documents import embedded_documents

            full: Any = full_encoder(encoder)
            found = embedded_documents(texts, full, PassageOptions.stride)
            for row in sorted({*range(len(texts))} - {*found.rows.tolist()})[:1]:
                raise BadInput("input", None, f"can't be embedded at place {row}", "Leave it out")
            scores = self._head.scores(found.vectors)
        return [self._prediction(line) for line in scores]

    def _prediction(self, scores: Any) -> Prediction:
        names, several = self.classes.names, self.classes.several
        best = names[int(np.argmax(scores))]
        chosen = [name for name, score in zip(names, scores, strict=True) if score >= 0.5]
        named = {name: float(score) for name, score in zip(names, scores, strict=True)}
        return Prediction(None if several else best, chosen if several else [best], named)


class Models:
    """The loaded models beside the encoder; each is optional."""

    def __init__(
        self,
        reader: "Reader | None" = None,
        reranker: "Reranker | None" = None,
        heads: Sequence[Head] = (),
    ) -> None:
        """Hold loaded models."""
        self._reader, self._reranker = reader, reranker
        self.heads = {head.name: head for head in heads}

    @property
    def reads(self) -> bool:
        """Whether there is a reader."""
        return self._reader is not None

    @property
    def ranks(self) -> bool:
        """Whether there is a reranker."""
        return self._reranker is not None

    @property
    def reader(self) -> "Reader":
        """The reader; raises BadInput if there is none."""
        if self._reader is None:
            problem = "is not there: the service was started without --reader"
            remedy = "Leave reader out, or start the service with --reader"
            raise BadInput("reader", None, problem, remedy)
        return self._reader

    @property
    def reranker(self) -> "Reranker":
        """The reranker; raises BadInput if there is none."""
        if self._reranker is None:
            problem = "is not there: the service was started without --reranker"
            remedy = "Leave rerank out, or start the service with --reranker"
            raise BadInput("rerank", None, problem, remedy)
        return self._reranker

    def warm_up(self, encoder: "TextEncoder") -> None:
        """Predict once with each head, so that no request waits for what the first one loads."""
        for head in self.heads.values():
            head.predict([_WORDS], encoder)

    def head(self, name: str) -> Head:
        """Return a head; raises NotFound if there is none of this name."""
        if name not in self.heads:
            known = ", ".join(self.heads) or "none"
            raise NotFound("head", name, f"is not there, only {known}", "Give another name")
        return self.heads[name]


def load_models(
    reader: str | None,
    reranker: str | None,
    heads: dict[str, str],
    store: "Store",
    placement: Placement,
) -> Models:
    """Load the models that are named; raises BadInput if one can't be used."""
    loaded_reader = loaded_reranker = None
    if reader is not None:
        from transforms.search.reader import Reader

        loaded_reader = Reader(reader, placement)
    if reranker is not None:
        from transforms.search.reranker import Reranker

        loaded_reranker = Reranker(reranker, placement)
    made = [Head(name, folder, store, placement) for name, folder in heads.items()]
    return Models(loaded_reader, loaded_reranker, made)
