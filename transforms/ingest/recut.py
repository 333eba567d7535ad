"""The tokens of a stored passage, as the cut of its whole document made them.

A passage that is cut inside a long word has other tokens alone: its text then begins or ends a
word. The store has the texts of all passages of the document, and these overlap. So they give the
document's text again, except for letters without tokens between two passages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.ingest.options import PassageOptions
from transforms.models.tokenizer import Tokenizer
from transforms.storage.hashing import text_hashes

#: What may lie between two passages: letters that separate words, or that the tokenizer drops.
_FILLS = (" ", "\n", "")
#: The most tokens at one place in a text that are tried as an edge of a window.
_MOST_EDGES = 16

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class StoredPassage:
    """A passage of a document: its span in code points, and its text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class _Document:
    """The text of a document, where each of its passages starts, and whether a gap was filled."""

    text: str
    starts: tuple[int, ...]
    filled: bool


def recut(
    passages: Sequence[StoredPassage],
    number: int,
    text_hash: bytes,
    tokenizer: Tokenizer,
    options: PassageOptions,
) -> list[Ids]:
    """Return the framed ids that the cut of a document may have given one of its passages.

    Args:
        passages: all passages of the document, in order.
        number: the place of the passage among them.
        text_hash: the hash of the document's text.
        tokenizer: the model's tokenizer.
        options: the options of the cut; the stride does not matter.

    Returns:
        Mostly one sequence. There are several if letters between passages are not known, or if
        several tokens begin or end at an edge. There is none if the passages are not the
        document's.
    """
    documents = []
    for fill in _FILLS:
        document = _join(passages, fill)
        if document is None:
            return []
        if text_hashes(pa.array([document.text]))[0].as_py() == text_hash:
            documents = [document]
            break
        if not document.filled:
            # Nothing is unknown, so this is another text.
            return []
        documents.append(document)
    windows = (
        ids
        for document in documents
        for ids in _windows_at(document, number, len(passages[number].text), tokenizer, options)
    )
    return list({ids.tobytes(): ids for ids in windows}.values())


def _join(passages: Sequence[StoredPassage], fill: str) -> _Document | None:
    """Join the texts of passages, with ``fill`` between them; None if they contradict each other.

    The fill "" leaves unknown letters out.
    """
    pieces: list[str] = []
    starts: list[int] = []
    most = max((len(each.text) for each in passages), default=0)
    tail, length, place, filled = "", 0, 0, False
    for each in passages:
        if len(each.text) != each.end - each.start or each.end < place:
            return None
        gap = fill * max(each.start - place, 0)
        filled |= each.start > place
        shared = max(place - each.start, 0)
        if shared > len(tail) or not tail.endswith(each.text[:shared]):
            return None
        new = gap + each.text[shared:]
        starts.append(length + len(gap) - shared)
        pieces.append(new)
        length += len(new)
        tail = (tail + new)[-most:]
        place = each.end
    return _Document("".join(pieces), tuple(starts), filled)


def _windows_at(
    document: _Document, number: int, length: int, tokenizer: Tokenizer, options: PassageOptions
) -> Iterator[Ids]:
    """Yield the framed ids of the windows of a document that have the span of a passage."""
    shift = len(options.prompt)
    tokens = tokenizer.encode([options.prompt + document.text])[0]
    lead = int((tokens.ends <= shift).sum()) if shift else 0
    ids = tokens.ids[lead:]
    starts = np.maximum(tokens.starts[lead:] - shift, 0)
    ends = tokens.ends[lead:] - shift
    before = np.array([*tokenizer.prefix, *tokens.ids[:lead].tolist()], np.int32)
    behind = np.array(tokenizer.suffix, np.int32)
    room = options.max_tokens - tokenizer.special_tokens - lead
    start = document.starts[number]
    firsts = [0] if number == 0 else np.flatnonzero(starts == start)[:_MOST_EDGES].tolist()
    for first in firsts:
        reached = np.maximum.accumulate(ends[first : first + room])
        stops = (np.flatnonzero(reached == start + length)[:_MOST_EDGES] + first + 1).tolist()
        if number == len(document.starts) - 1:
            stops = [len(ids)] if len(ids) - first <= room else []
        for stop in stops:
            yield np.concatenate([before, ids[first:stop], behind])
