"""A whole network that answers questions, as ``albeam finetune read`` writes it, at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.models.options import Placement
from transforms.runtime.once import Once
from transforms.tasks.networks.network_files import BATCH_TOKENS, load_reader


@dataclass(frozen=True)
class FoundAnswer:
    """An answer: a span of a passage.

    Attributes:
        start: its first code point in the passage.
        end: the code point after its last.
        text: its text.
        score: the sum of the logits of its first and last token, as for ``albeam search --reader``.
    """

    start: int
    end: int
    text: str
    score: float


class TextReader:
    """A reader that is loaded."""

    def __init__(self, folder: str, placement: Placement) -> None:
        """Load a reader; see `load_reader`."""
        self.settings, self._network, self._fast, self._tokenizer = load_reader(folder, placement)

    def answers(
        self, questions: Sequence[str], passages: Sequence[str]
    ) -> list[FoundAnswer | None]:
        """Return the best span of each question's passage, of at most 30 tokens.

        A long passage is read in windows. None is for a passage without tokens, and, by a reader
        that was trained with questions without answers, for one without an answer.

        Args:
            questions: the questions.
            passages: the passage of each question.
        """
        import torch

        from transforms.encoder.answer_spans import without_blanks
        from transforms.tasks.networks.batches import validation_batches
        from transforms.tasks.networks.pair_tokens import tokenize_pairs
        from transforms.tasks.networks.reading import find_spans

        if not len(questions):
            return []
        distinct = {text: place for place, text in enumerate(dict.fromkeys(passages))}
        places: npt.NDArray[np.int64] = np.asarray([distinct[text] for text in passages], np.int64)
        tokens = tokenize_pairs(self._fast, self._tokenizer, questions, list(distinct), places)
        with torch.inference_mode():
            batches = validation_batches(tokens.cover(self.settings.max_tokens), BATCH_TOKENS)
            found = find_spans(self._network, batches, tokens)
        margins = found.margins()
        made: list[FoundAnswer | None] = []
        for row, passage in enumerate(passages):
            start, end = without_blanks(passage, int(found.starts[row]), int(found.ends[row]))
            none = self.settings.no_answer and margins[row] > self.settings.threshold
            score = float(found.scores[row])
            known = FoundAnswer(start, end, passage[start:end], score)
            made.append(None if none or start == end else known)
        return made


#: The reader that all threads of a process share.
reader_of = Once(TextReader, 1)
