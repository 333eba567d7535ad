"""What may be asked of the service, and who asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.serving.core.errors import TooLarge
from pipeline.serving.options import Limits
from transforms.errors import BadInput, check_at_least
from transforms.search.condition import Condition, Where
from transforms.search.options import RankOptions


@dataclass(frozen=True)
class Access:
    """What a client may see.

    Attributes:
        name: its name in the log.
        store: the only store that it may use; None for all.
        where: a condition that all rows meet that it may see; None for all rows.
        operator: whether it may see what the service does for others, as its metrics tell.
    """

    name: str = "anonymous"
    store: str | None = None
    where: Condition | None = None
    operator: bool = True


@dataclass(frozen=True)
class SearchRequest:
    """A search.

    Attributes:
        questions: the texts; none with ``like``.
        k, mode, where, fusion, weight, diverse, offset: see `Store.search`.
        rerank: how many documents the reranker ranks anew; None for no reranking.
        read: whether the reader finds an answer in each hit.
        no_answer: whether it may find none.
        snapshot: the number of an older snapshot; None for the newest.
        like, unlike: see `Store.search_like`.
    """

    questions: tuple[str, ...] = ()
    k: int = RankOptions.k
    mode: str | None = None
    where: Where | None = None
    fusion: str = RankOptions.fusion
    weight: float | None = None
    diverse: bool = False
    offset: int = RankOptions.offset
    rerank: int | None = None
    read: bool = False
    no_answer: bool = False
    snapshot: int | None = None
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput if options can't be combined."""
        if bool(self.questions) == bool(self.like):
            problem = "must be given, either it or like"
            raise BadInput("question", None, problem, "Give one of question and like")
        if self.unlike and not self.like:
            raise BadInput("unlike", ", ".join(self.unlike), "needs like", "Give like as well")
        if self.like and (self.rerank or self.read):
            option = "rerank" if self.rerank else "reader"
            problem = "reads a question, and like has none"
            raise BadInput(option, None, problem, "Leave one of them out")
        if self.no_answer and not self.read:
            raise BadInput("no_answer", None, "needs reader", "Give reader as well")
        check_at_least("rerank", self.rerank, 1)

    def check(self, limits: Limits) -> None:
        """Raise BadInput if the request is beyond a limit."""
        check_most("question", len(self.questions), limits.questions, "questions")
        for question in self.questions:
            check_length("question", question, limits.question)
        wanted = self.k + max(self.offset, 0)
        check_most("k", wanted, limits.k, "documents, those of the offset included", self.k)
        check_most("rerank", self.rerank or 0, limits.k, "documents", self.rerank)
        check_most("like", len(self.like) + len(self.unlike), limits.questions, "ids")
        for name in (*self.like, *self.unlike):
            check_length("like", name, limits.question)


def check_most(option: str, count: int, most: int, of: str, value: int | None = None) -> None:
    """Raise BadInput if there are more things than are taken; ``value`` is what was given."""
    if count > most:
        problem = f"asks for {count:,} {of}, and {most:,} are the most"
        raise BadInput(option, value, problem, f"Ask for {most:,} or fewer")


def check_length(option: str, text: str | Sequence[int], most: int) -> None:
    """Raise TooLarge if a text, or its list of tokens, is longer than is taken."""
    if len(text) > most:
        of = "characters" if isinstance(text, str) else "tokens"
        problem = f"has a text of {len(text):,} {of}, and {most:,} are the most"
        raise TooLarge(option, None, problem, "Give a shorter one")


def check_inputs(option: str, texts: Sequence[str | Sequence[int]], limits: Limits) -> None:
    """Raise BadInput if texts are missing, blank, no Unicode, or beyond a limit."""
    if not texts:
        raise BadInput(option, None, "has no text", "Give one or more")
    check_most(option, len(texts), limits.inputs, "texts")
    for place, text in enumerate(texts):
        check_length(option, text, limits.text)
        if not isinstance(text, str):
            continue
        if not text.strip():
            raise BadInput(option, None, f"has a blank text at place {place}", "Leave it out")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            problem = f"is not Unicode: text {place} has half of a surrogate pair"
            raise BadInput(option, None, problem, "Leave that character out") from error
