"""What clients get, for the description of the API."""

from typing import Any

from pydantic import BaseModel, Field


class AnswerReply(BaseModel):
    """A span of a passage."""

    text: str
    score: float
    start: int
    end: int
    no_answer: float | None = Field(None, description="the score of no answer in the passage")
    probability: float | None = Field(
        None, description="that the answer is right; null if the reader was not calibrated"
    )


class HitReply(BaseModel):
    """The best passage of one document, with the keys of `albeam search --json`."""

    rank: int
    score: float
    document_id: str
    passage: int
    start: int
    end: int
    text: str
    metadata: dict[str, Any]
    dense: float | None
    lexical: float | None
    answer: AnswerReply | None = Field(None, description="with reader: the best span")


class FoundReply(BaseModel):
    """The hits of one question."""

    question: str
    hits: list[HitReply]
    notes: list[str] = Field(description="what to know besides; often empty")


class SearchReply(BaseModel):
    """The result of a search."""

    store: str
    snapshot: int
    mode: str
    results: list[FoundReply] = Field(description="one for each question")
    milliseconds: dict[str, float] = Field(description="duration of each stage, waiting included")


class BestAnswerReply(BaseModel):
    """The best answer to a question, with its passage."""

    store: str
    snapshot: int
    answer: AnswerReply | None = Field(description="null if none was found")
    hit: HitReply | None = Field(description="the passage of the answer")
    milliseconds: dict[str, float]


class PassageReply(BaseModel):
    """A passage of a document."""

    passage: int
    start: int
    end: int
    text: str


class DocumentReply(BaseModel):
    """A document."""

    store: str
    snapshot: int
    document_id: str
    metadata: dict[str, Any]
    passages: list[PassageReply]


class StoreReply(BaseModel):
    """A store that the client may use."""

    name: str
    snapshot: int
    created: str
    documents: int
    passages: int
    model: str
    dim: int
    columns: dict[str, str]
    modes: list[str]


class ModelReply(BaseModel):
    """A store, as OpenAI lists a model."""

    id: str
    object: str = "model"
    created: int
    owned_by: str


class ModelsReply(BaseModel):
    """The stores, in OpenAI's form."""

    object: str = "list"
    data: list[ModelReply]


class EmbeddingReply(BaseModel):
    """A vector."""

    object: str = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsReply(BaseModel):
    """Vectors, in OpenAI's form."""

    object: str = "list"
    data: list[EmbeddingReply]
    model: str
    usage: dict[str, int]


class RankedReply(BaseModel):
    """A document with its score."""

    index: int
    relevance_score: float
    document: dict[str, str] | None = None


class RerankReply(BaseModel):
    """Documents, best first."""

    id: str
    model: str
    results: list[RankedReply]


class EntityReply(BaseModel):
    """An entity of a text, by its code points."""

    start: int
    end: int
    type: str
    text: str
    score: float


class PredictionReply(BaseModel):
    """The classes of a text, or its entities."""

    label: str | None
    labels: list[str]
    scores: dict[str, float]
    entities: list[EntityReply]


class PredictReply(BaseModel):
    """The classes of texts."""

    head: str
    predictions: list[PredictionReply]


class HealthReply(BaseModel):
    """That the process lives."""

    status: str
    version: str


class ReadyReply(BaseModel):
    """That the service answers."""

    status: str
