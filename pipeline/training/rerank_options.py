"""The options of ``albeam finetune rerank``, without heavy imports."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.training.options import AugmentedOptions
from transforms.errors import BadInput, check_choice
from transforms.search.options import MODES

#: Where the negatives of a reranker come from.
RERANK_NEGATIVES = ("bm25", "store", "none")


@dataclass(frozen=True, kw_only=True)
class RerankOptions(AugmentedOptions):
    """The options of ``albeam finetune rerank``.

    Attributes:
        model: folder of the model to start from.
        pairs: for each corpus, the Parquet files of passages and of questions.
        store: a store of the passages, whose searches find candidates; None for BM25.
        mode: how the store is searched; None for hybrid, or dense without a lexical index.
        negatives: where hard negatives come from: ``bm25``, ``store``, or ``none`` for passages
            drawn at random; None for ``store`` if there is one, else ``bm25``.
        per_question: negatives of a question in a step.
        easy: the share of them that is drawn at random, unless all are.
        candidates: passages that a search finds for a question, at most. Negatives are drawn from
            them, and the validation orders them.
        questions: questions of a passage, at most.
        held_out: questions that the validation asks, at most.
        max_tokens: tokens of a question and a passage together; None for the model's own limit.
        passage_tokens: tokens of a passage in training; None for as many as have room.
    """

    decisive: ClassVar = (
        *AugmentedOptions.decisive,
        *("mode", "negatives", "per_question", "easy", "candidates", "questions"),
        *("held_out", "max_tokens", "passage_tokens"),
    )
    least: ClassVar = {
        **AugmentedOptions.least,
        **{"per_question": 1, "easy": 0, "candidates": 2, "questions": 1, "held_out": 1},
        **{"max_tokens": 8, "passage_tokens": 4},
    }
    has_head: ClassVar = True

    model: Path
    pairs: tuple[tuple[Path, Path], ...]
    store: str | None = None
    mode: str | None = None
    negatives: str | None = None
    per_question: int = 4
    easy: float = 0.5
    candidates: int = 30
    questions: int = 4
    held_out: int = 100
    max_tokens: int | None = None
    passage_tokens: int | None = None
    optimizer: str = "adamw"
    rate: float = 2e-4
    dropout: float = 0.0
    batch_tokens: int = 2048
    evaluate_every: int = 500

    def __post_init__(self) -> None:
        """Raise BadInput for values that can't work."""
        super().__post_init__()
        check_choice("negatives", self.negatives, RERANK_NEGATIVES)
        check_choice("mode", self.mode, MODES)
        if not self.easy < 1:
            remedy = "Give a share such as 0.5, or --negatives none"
            raise BadInput("easy", self.easy, "must be below 1", remedy)
        if self.store is None and self.negatives == "store":
            raise BadInput("negatives", "store", "needs a store", "Give --store STORE as well")
        if self.store is None and self.mode is not None:
            raise BadInput("mode", self.mode, "needs a store", "Give --store STORE as well")
        if self.output.absolute() == self.model.absolute():
            raise BadInput("output", str(self.output), "is the model itself", "Name another folder")

    @property
    def source(self) -> str:
        """Return where hard negatives come from."""
        return self.negatives or ("bm25" if self.store is None else "store")

    @property
    def hard(self) -> int:
        """Return how many negatives of a question are hard ones; one at least, if any are."""
        drawn = round(self.easy * self.per_question)
        return 0 if self.source == "none" else max(1, self.per_question - drawn)
