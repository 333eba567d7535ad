"""Questions of which the model reads only a part, so that their vectors say less than their texts.

A question is cut where it is longer than a passage may be, and characters that the vocabulary lacks
are all the same to the model.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from transforms.models.identity import ModelIdentity
from transforms.models.tokenizer import Tokenizer
from transforms.models.unknown_texts import mostly_unknown

#: The characters of a question that name it.
_LONGEST_NAME = 40


@dataclass(frozen=True)
class QuestionCheck:
    """How many questions the model reads only in part.

    Attributes:
        asked: number of questions.
        cut: number of questions that are longer than what the model reads.
        first_cut: the name of the first of these.
        unknown: number of questions of which at least half is unknown to the model.
        first_unknown: the name of the first of these.
        max_tokens: how many tokens the model reads.
    """

    asked: int = 0
    cut: int = 0
    first_cut: str = ""
    unknown: int = 0
    first_unknown: str = ""
    max_tokens: int = 0

    def __add__(self, later: "QuestionCheck") -> "QuestionCheck":
        """Return the check of these questions and of later ones."""
        return QuestionCheck(
            self.asked + later.asked,
            self.cut + later.cut,
            self.first_cut if self.cut else later.first_cut,
            self.unknown + later.unknown,
            self.first_unknown if self.unknown else later.first_unknown,
            max(self.max_tokens, later.max_tokens),
        )

    def notes(self) -> list[str]:
        """Return sentences for the user, none if the model reads every question."""
        found = []
        if self.cut:
            longer = f"longer than the {self.max_tokens} tokens that the model reads"
            found.append(
                f"{self._some(self.cut, self.first_cut)} {longer}. The rest does not count for "
                "vectors."
            )
        if self.unknown:
            unknown = "mostly unknown to the model, as another script is"
            found.append(
                f"{self._some(self.unknown, self.first_unknown)} {unknown}. Vectors say "
                "little about that; words still count in modes hybrid and lexical."
            )
        return found

    def _some(self, count: int, first: str) -> str:
        if self.asked == 1:
            return "The question is"
        verb = "is" if count == 1 else "are"
        return f"{count:,} of {self.asked:,} questions, {first!r} the first, {verb}"

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "QuestionCheck":
        """Return the check that `to_json` wrote."""
        return cls(**json.loads(text))


def check_questions(
    questions: Sequence[str],
    tokenizer: Tokenizer,
    identity: ModelIdentity,
    names: Sequence[str] | None = None,
) -> QuestionCheck:
    """Count the questions that a model reads only in part.

    Args:
        questions: the texts.
        tokenizer: the model's tokenizer.
        identity: the model, with its prompt and the most tokens that it reads.
        names: what to call the questions; by default the beginnings of their texts.
    """
    prompt = identity.query_prompt
    tokens = tokenizer.encode([prompt + question for question in questions])
    cut = np.diff(tokens.bounds) > identity.max_tokens - tokenizer.special_tokens
    unknown = mostly_unknown(tokens, tokenizer.unknown, len(prompt))

    called = [text[:_LONGEST_NAME] for text in questions] if names is None else names
    return QuestionCheck(
        len(questions),
        int(cut.sum()),
        _first(called, cut),
        int(unknown.sum()),
        _first(called, unknown),
        identity.max_tokens,
    )


def _first(names: Sequence[str], places: npt.NDArray[np.bool_]) -> str:
    return names[int(places.argmax())] if places.any() else ""
