"""The training of a reader: its loss, its validation, and the answers that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transforms.encoder.answer_spans import best_span, without_blanks
from transforms.tasks.data.labels import Classes
from transforms.tasks.metrics.answer_scores import choose_threshold, score_answers
from transforms.tasks.networks.batches import WindowBatch
from transforms.tasks.networks.head_network import HeadNetwork
from transforms.tasks.networks.pair_tokens import AnsweredWindows, PairTokens
from transforms.tasks.networks.windows import Int64

#: What a reader scores of each token.
EDGES = Classes(("start", "end"))


class ReaderObjective:
    """The loss and the validation of a reader.

    The loss is the negative log likelihood that the answer starts at one of its starts, and ends
    at one of its ends. Where a window has no answer, its first token is the answer.
    """

    def __init__(self, network: HeadNetwork) -> None:
        """Take the network to train."""
        self.network = network

    def loss(self, batch: WindowBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the mean loss of a batch's `AnsweredWindows`, and no parts to report."""
        logits = self.network.logits(batch)
        known, allowed = (torch.from_numpy(each) for each in self._masks(batch))
        known, allowed = known.to(logits.device), allowed.to(logits.device)
        right = logits.masked_fill(~known, -torch.inf).logsumexp(1)
        every = logits.masked_fill(~allowed[:, :, None], -torch.inf).logsumexp(1)
        return (every - right).mean(), {}

    def _masks(self, batch: WindowBatch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which starts and ends are right, and which tokens may be any."""
        windows = batch.windows
        assert isinstance(windows, AnsweredWindows)
        lengths, seconds = windows.lengths[batch.rows], _seconds(batch)
        places = np.arange(lengths.max())
        allowed = (places >= seconds[:, None]) & (places < lengths[:, None] - 1)
        allowed[:, 0] = True
        known = np.zeros((*allowed.shape, 2), np.bool_)
        for row, (window, second) in enumerate(zip(batch.rows, seconds, strict=True)):
            shift = second - windows.firsts[window]
            for start, end in windows.targets[windows.texts[window]]:
                if start + shift >= second and end + shift < lengths[row] - 1:
                    known[row, start + shift, 0] = known[row, end + shift, 1] = True
            if not known[row].any():
                known[row, 0] = True
        return known, allowed

    def evaluate(
        self,
        batches: Sequence[WindowBatch],
        tokens: PairTokens,
        passages: Sequence[str],
        known: Sequence[Sequence[str]],
        no_answer: bool,
    ) -> dict[str, float]:
        """Answer validation questions.

        Args:
            batches: the batches of all their windows.
            tokens: their tokens.
            passages: their passages, each once.
            known: the known answers of each question.
            no_answer: whether the network may find no answer, by the threshold that serves best.

        Returns:
            ``score``: the F1 by SQuAD's rules, and ``exact_match``. With ``no_answer`` also
            ``threshold``, and ``answerable``: the share of the questions for which it is right
            that there is an answer, or none.
        """
        found = find_spans(self.network, batches, tokens)
        answers = found.texts([passages[place] for place in tokens.places])
        if not no_answer:
            exact, f1 = score_answers(answers, known)
            return {"score": float(f1.mean()), "exact_match": float(exact.mean())}
        threshold = choose_threshold(found.margins(), answers, known)
        kept = [
            answer if margin <= threshold else ""
            for answer, margin in zip(answers, found.margins(), strict=True)
        ]
        exact, f1 = score_answers(kept, known)
        agree = [bool(answer) == bool(right) for answer, right in zip(kept, known, strict=True)]
        return {
            "score": float(f1.mean()),
            "exact_match": float(exact.mean()),
            "answerable": float(np.mean(agree)),
            "threshold": threshold,
        }


@dataclass(frozen=True)
class FoundSpans:
    """The best span of each question, and how well it scores; see `find_spans`.

    Attributes:
        starts: its first code point in the passage.
        ends: the code point after its last.
        scores: the sum of the logits of its first and last token; minus infinity for a passage
            without tokens.
        nothing: the score of the first token, which means that there is no answer: the lowest
            among the windows.
    """

    starts: Int64
    ends: Int64
    scores: npt.NDArray[np.float64]
    nothing: npt.NDArray[np.float64]

    def texts(self, passages: Sequence[str]) -> list[str]:
        """Return the text of each span.

        Args:
            passages: the passage of each question.
        """
        spans = zip(passages, self.starts, self.ends, strict=True)
        return [text[slice(*without_blanks(text, start, end))] for text, start, end in spans]

    def margins(self) -> npt.NDArray[np.float64]:
        """Return by how much no answer scores higher than the best span."""
        return self.nothing - self.scores


def find_spans(
    network: HeadNetwork, batches: Sequence[WindowBatch], tokens: PairTokens
) -> FoundSpans:
    """Return the best span of each question, over the windows of its passage.

    Args:
        network: the network.
        batches: the batches of all windows that `PairTokens.cover` returned.
        tokens: the tokens of the questions.
    """
    count = len(tokens.places)
    starts, ends = np.zeros(count, np.int64), np.zeros(count, np.int64)
    scores, nothing = np.full(count, -np.inf), np.full(count, np.inf)
    for batch in batches:
        logits = network.logits(batch).cpu().numpy().astype(np.float64)
        windows = batch.windows
        for values, window, second in zip(logits, batch.rows, _seconds(batch), strict=True):
            row = int(windows.texts[window])
            nothing[row] = min(nothing[row], values[0].sum())
            inside = values[second : windows.lengths[window] - 1]
            if not len(inside):
                continue
            first, last, score = best_span(inside[:, 0], inside[:, 1])
            if score > scores[row]:
                offsets = tokens.offsets[tokens.places[row]]
                first, last = (each + int(windows.firsts[window]) for each in (first, last))
                scores[row], starts[row], ends[row] = score, offsets[first, 0], offsets[last, 1]
    return FoundSpans(starts, ends, scores, nothing)


def _seconds(batch: WindowBatch) -> Int64:
    seconds: Any = batch.windows.seconds
    return seconds[batch.rows]  # type: ignore[no-any-return]
