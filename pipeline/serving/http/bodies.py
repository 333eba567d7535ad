"""What clients send."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.serving.core.requests import SearchRequest
from transforms.errors import BadInput
from transforms.search.options import DEFAULT_WEIGHT


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SearchBody(_Body):
    """A search: the options of `albeam search`."""

    question: str | list[str] | None = Field(None, description="a question, or several")
    store: str | None = Field(None, description="the name of the store; by default the first one")
    k: int = Field(10, description="how many documents to find")
    offset: int = Field(0, description="how many of the best documents to leave out")
    mode: Literal["hybrid", "dense", "lexical"] | None = Field(
        None, description="hybrid by default, or dense if the store has no lexical index"
    )
    where: str | None = Field(
        None, description="an SQL condition over metadata columns", examples=["lang = ?"]
    )
    parameters: list[Any] | dict[str, Any] | None = Field(
        None, description="the values of ? or $name in where", examples=[["en"]]
    )
    fusion: Literal["combination", "rrf"] = Field("combination", description="how hybrid joins")
    weight: float | None = Field(
        None, description=f"weight of the cosine; the store's, else {DEFAULT_WEIGHT}"
    )
    diverse: bool = Field(False, description="leave out what is nearly identical to a better one")
    rerank: int | None = Field(None, description="how many documents the reranker ranks anew")
    reader: bool = Field(False, description="find an answer in each hit")
    no_answer: bool = Field(False, description="the reader may find no answer")
    snapshot: int | None = Field(None, description="the number of an older snapshot")
    like: str | list[str] | None = Field(None, description="ids of documents, not a question")
    unlike: str | list[str] | None = Field(None, description="with like: ids of others")

    def request(self) -> SearchRequest:
        """Return the search; raises BadInput if options can't be combined."""
        if self.parameters is not None and self.where is None:
            raise BadInput("parameters", None, "needs where", "Give a condition as well")
        where = self.where if self.parameters is None else (self.where or "", self.parameters)
        return SearchRequest(
            questions=_texts(self.question),
            k=self.k,
            mode=self.mode,
            where=where,
            fusion=self.fusion,
            weight=self.weight,
            diverse=self.diverse,
            offset=self.offset,
            rerank=self.rerank,
            read=self.reader,
            no_answer=self.no_answer,
            snapshot=self.snapshot,
            like=_texts(self.like),
            unlike=_texts(self.unlike),
        )


class AnswerBody(_Body):
    """A question whose answer is a span of a passage."""

    question: str
    store: str | None = None
    k: int = Field(10, description="how many documents to read")
    mode: Literal["hybrid", "dense", "lexical"] | None = None
    where: str | None = None
    parameters: list[Any] | dict[str, Any] | None = None
    rerank: int | None = Field(None, description="30 by default, if there is a reranker")
    no_answer: bool = False
    threshold: float = Field(0.0, ge=0, le=1, description="the least probability of an answer")
    snapshot: int | None = None

    def request(self) -> SearchRequest:
        """Return the search whose hits are read."""
        return SearchBody(**self.model_dump(exclude={"threshold"}), reader=True).request()


class EmbeddingsBody(BaseModel):
    """Texts to embed, in OpenAI's form; other fields of that form are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input: str | list[str] | list[int] | list[list[int]] = Field(
        description="a text, texts, or token ids of this model, without special tokens"
    )
    model: str | None = Field(None, description="the name of a store or of its model")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="the width of the vectors: the model's alone")
    user: str | None = None
    input_type: Literal["passage", "query"] = Field(
        "passage", description="which prompt of the model comes before the texts"
    )


class RerankBody(BaseModel):
    """Documents to rank for a query, in Cohere's and Jina's form."""

    model_config = ConfigDict(extra="ignore", strict=True)

    query: str
    documents: list[str | dict[str, str]] = Field(description="texts, or objects with a text")
    top_n: int | None = Field(None, ge=1)
    model: str | None = None
    return_documents: bool = False


class PredictBody(_Body):
    """Texts to classify."""

    input: str | list[str]


def _texts(given: str | list[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)
