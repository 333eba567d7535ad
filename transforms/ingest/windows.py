"""Windows of tokens: where the passages of one long text start and end.

A window starts and ends between words if possible. The text of such a passage alone then gives the
same tokens, and so the same vector, again. `transforms.ingest.recut` is for the other passages.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.ingest.options import PassageOptions
from transforms.models.tokenizer import Tokenizer
from transforms.models.word_tokens import Tokens

#: To reach the start of a word, an edge may move by a window's length divided by this.
_REACH = 4
#: Whether each code point is white space; no higher code point is.
_IS_SPACE = np.array([chr(point).isspace() for point in range(0x3002)])


@dataclass(frozen=True)
class Window:
    """One passage of a text: its span in code points, and its framed ids, int32."""

    start: int
    end: int
    ids: npt.NDArray[np.int32]


def cut(
    tokens: Tokens, text: str, tokenizer: Tokenizer, options: PassageOptions
) -> Iterator[Window]:
    """Yield the windows of one document, in order; none if it has no tokens.

    The spans cover the text: the first starts at 0, the last ends at the end of the text.

    Args:
        tokens: the tokens of ``options.prompt + text``.
        text: the text of the document.
        tokenizer: frames each window.
        options: window size, overlap, prompt.
    """
    shift = len(options.prompt)
    lead = int((tokens.ends <= shift).sum()) if shift else 0
    ids = tokens.ids[lead:]
    before = np.array([*tokenizer.prefix, *tokens.ids[:lead].tolist()], np.int32)
    behind = np.array(tokenizer.suffix, np.int32)
    starts = np.maximum(tokens.starts[lead:] - shift, 0)
    ends = tokens.ends[lead:] - shift
    room = options.max_tokens - tokenizer.special_tokens - lead
    for number, (first, stop) in enumerate(
        windows(len(ids), room, options.stride, word_starts(text, starts))
    ):
        start = 0 if number == 0 else int(starts[first])
        end = len(text) if stop == len(ids) else int(ends[first:stop].max())
        yield Window(start, end, np.concatenate([before, ids[first:stop], behind]))


def word_starts(text: str, starts: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return for each token whether a word begins with it.

    A word begins at the start of the text and after white space.
    """
    letters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    before = np.minimum(letters[np.maximum(starts - 1, 0)], len(_IS_SPACE) - 1)
    begins: npt.NDArray[np.bool_] = _IS_SPACE[before]
    begins[starts == 0] = True
    # The mark of a word and its first letters may be two tokens that start at the same place.
    begins[1:] &= starts[1:] != starts[:-1]
    return begins


def windows(
    count: int, room: int, stride: int, starts: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Yield token ranges ``(first, stop)`` that cover ``count`` tokens.

    Each range holds at most ``room`` tokens, shares at least ``stride`` tokens with the previous
    one, and ends after it. An edge inside a word moves back to the start of the word if that is at
    most a quarter of the window away.
    """
    first = previous_stop = 0
    reach = room // _REACH
    while previous_stop < count:
        stop = min(first + room, count)
        if stop < count:
            lowest = max(stop - reach, first + stride + 1, previous_stop + 1)
            stop = _last_word_start(starts, lowest, stop)
        yield first, stop
        # The next window must start after this one and be able to end after it.
        latest = stop - stride
        first = _last_word_start(starts, max(latest - reach, first + 1, stop + 1 - room), latest)
        previous_stop = stop


def _last_word_start(starts: npt.NDArray[np.bool_], lowest: int, place: int) -> int:
    """Return the last word start in ``[lowest, place]``; ``place`` if there is none."""
    found = np.flatnonzero(starts[lowest : place + 1])
    return lowest + int(found[-1]) if len(found) else place
