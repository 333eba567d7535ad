"""Two teachers as one: the similarities of its vectors are a mean of those of both.

The vectors of both are set side by side, and a linear map brings them to the width of the first
teacher, near its vectors. So a student that starts near the first teacher has little to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.storage.output_files import writing
from transforms.training.teacher import Float16, Teacher

Float32 = npt.NDArray[np.float32]
#: Texts with at most this many words are embedded as queries, all others as passages.
_QUERY_WORDS = 25


@dataclass(frozen=True)
class JoinedSpace:
    """The linear map from the vectors of two teachers, side by side, to one space.

    Attributes:
        center: the mean of the second teacher's vectors, float32 [dim of the second].
        scale: what the centered vectors of the second teacher are multiplied by.
        matrix: float32 [dim of the first + dim of the second, dim of the first].
    """

    center: Float32
    scale: float
    matrix: Float32

    @classmethod
    def fit(cls, first: Float32, second: Float32, share: float) -> JoinedSpace:
        """Fit the map to the vectors of some texts.

        The centered vectors of the second teacher are scaled, so that their mean squared length is
        that of the first teacher's vectors; ``share`` weighs the two. The leading principal axes of
        both (without centering) are kept, and rotated to be near the first teacher's vectors
        (Schönemann, 1966).

        Args:
            first: unit vectors of the first teacher, [texts, dim].
            second: those of the second teacher, [texts, its dim].
            share: the weight of the second teacher's similarities, from 0 to 1.
        """
        center = second.mean(0)
        spread = float(np.sqrt(np.square(second - center).sum(1).mean()))
        scale = float(np.sqrt(share)) / max(spread, 1e-6)
        joined = np.hstack([first * np.sqrt(1 - share), (second - center) * scale])
        axes = np.linalg.svd(joined.T @ joined)[0][:, : first.shape[1]]
        left, _, right = np.linalg.svd((joined @ axes).T @ first)
        matrix = axes @ (left @ right)
        matrix[: first.shape[1]] *= np.sqrt(1 - share)
        return cls(center.astype(np.float32), scale, matrix.astype(np.float32))

    def join(self, first: Float32, second: Float32) -> Float32:
        """Map vectors [rows, dim] of both teachers; the result has no unit length."""
        width = first.shape[1]
        found: Float32 = first @ self.matrix[:width]
        found += ((second - self.center) * self.scale) @ self.matrix[width:]
        return found

    def save(self, path: Path) -> None:
        """Write the map."""
        with writing(str(path)) as partial, open(partial, "wb") as file:
            np.savez(file, center=self.center, scale=self.scale, matrix=self.matrix)

    @classmethod
    def load(cls, path: Path) -> JoinedSpace:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as found:
            return cls(found["center"], float(found["scale"]), found["matrix"])


class JoinedTeacher:
    """Two teachers that embed as one."""

    def __init__(self, first: Teacher, second: Teacher, space: JoinedSpace) -> None:
        """Join the teachers.

        Args:
            first: it decides the width.
            second: the other one.
            space: see `fit_space`.
        """
        self.first, self.second, self.space = first, second, space

    def encode(self, texts: Sequence[str], max_tokens: int) -> tuple[Float16, list[Float16]]:
        """Return the unit vectors [texts, dim] and each text's word vectors [words + 2, dim].

        Where only one teacher's tokenizer cuts a text, the vectors of the words that it lacks are
        zero, and do not count.
        """
        own, own_words = self.first.encode(texts, max_tokens)
        other, other_words = encode_prompted(self.second, texts, max_tokens)
        joined = self.space.join(own.astype(np.float32), other.astype(np.float32))
        joined /= np.linalg.norm(joined, axis=1, keepdims=True)
        words = [
            self._words(*each) for each in zip(own, own_words, other, other_words, strict=True)
        ]
        return joined.astype(np.float16), words

    def _words(
        self, own: Float16, own_words: Float16, other: Float16, other_words: Float16
    ) -> Float16:
        """Map the words of one text, each teacher's divided by the length of their mean."""
        count = min(len(own_words), len(other_words))
        if len(own_words) != len(other_words):
            # The last special token of the shorter one is no word of the longer one.
            count -= 1
        first = _in_units(own_words, own)[:count]
        second = _in_units(other_words, other)[:count]
        found = np.zeros((len(own_words), len(own)), np.float16)
        found[:count] = self.space.join(first, second)
        return found


def fit_space(
    first: Teacher, second: Teacher, texts: Sequence[str], share: float, max_tokens: int
) -> JoinedSpace:
    """Return the map of two teachers, fitted to their vectors of some texts."""
    own = first.encode(texts, max_tokens)[0].astype(np.float32)
    other = encode_prompted(second, texts, max_tokens)[0].astype(np.float32)
    return JoinedSpace.fit(own, other, share)


def encode_prompted(
    teacher: Teacher, texts: Sequence[str], max_tokens: int
) -> tuple[Float16, list[Float16]]:
    """Encode texts behind the model's prompts of queries or passages; leave out their words."""
    model = teacher.encoder.identity
    chosen = [
        model.query_prompt if text.count(" ") < _QUERY_WORDS else model.passage_prompt
        for text in texts
    ]
    full = [prompt + text for prompt, text in zip(chosen, texts, strict=True)]
    vectors, words = teacher.encode(full, max_tokens)
    skipped = [len(prompt.split()) for prompt in chosen]
    return vectors, [
        np.delete(each, np.s_[1 : 1 + count], 0) for each, count in zip(words, skipped, strict=True)
    ]


def _in_units(words: Float16, vector: Float16) -> Float32:
    """Divide word vectors by the length of their mean, along the text's unit vector."""
    found = words.astype(np.float32)
    length = float(found.mean(0) @ vector.astype(np.float32))
    return found / max(length, 1e-6)
