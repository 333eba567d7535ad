"""Token ids and character offsets, exactly as transformers' fast tokenizers make them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transforms.errors import BadInput
from transforms.model import Model


@dataclass(frozen=True)
class Tokens:
    """One text's tokens without special tokens.

    Attributes:
        ids: vocabulary ids.
        offsets: ``(start, end)`` of each token in the text, in Unicode code points.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


class Tokenizer:
    """A model's tokenizer, and the special tokens that frame a passage."""

    def __init__(self, backend: Any) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.prefix, self.suffix = _frame(backend)

    @property
    def special_tokens(self) -> int:
        """How many special tokens frame a passage."""
        return len(self.prefix) + len(self.suffix)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text.

        Raises:
            BadInput: a text holds a lone surrogate, which has no UTF-8.
        """
        try:
            encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        except (TypeError, UnicodeEncodeError) as error:
            raise BadInput(_surrogate_message(texts) or str(error)) from error
        return [Tokens(encoding.ids, encoding.offsets) for encoding in encodings]

    def frame(self, ids: Sequence[int]) -> list[int]:
        """``ids`` between the special tokens."""
        return [*self.prefix, *ids, *self.suffix]

    def encode_framed(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Framed ids of each text, cut to ``max_tokens`` special tokens counted."""
        room = max_tokens - self.special_tokens
        return [self.frame(tokens.ids[:room]) for tokens in self.encode(texts)]


def load_tokenizer(model: Model) -> Tokenizer:
    """The tokenizer of a model's folder.

    Raises:
        BadInput: there is none that is fast, or its vocabulary is not the model's.
    """
    from transformers import AutoConfig, AutoTokenizer

    name = model.identity.name
    try:
        slow_or_fast = AutoTokenizer.from_pretrained(
            model.folder, local_files_only=True, trust_remote_code=False
        )
        vocabulary = int(AutoConfig.from_pretrained(model.folder, local_files_only=True).vocab_size)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(
            f"model {name!r}: transformers can't load its tokenizer: {reason}"
        ) from error
    backend = getattr(slow_or_fast, "backend_tokenizer", None)
    if backend is None:
        raise BadInput(f"model {name!r} has no fast tokenizer; save it with a tokenizer.json")
    pieces = len(slow_or_fast)
    # Vocabularies are often padded to a round size; more than 1 % apart is another model's.
    if pieces > vocabulary or vocabulary - pieces > vocabulary // 100:
        raise BadInput(
            f"model {name!r} has {vocabulary} word vectors but its tokenizer {pieces} pieces; "
            "put the tokenizer.json of this very model beside its weights"
        )
    return Tokenizer(backend)


def _frame(backend: Any) -> tuple[list[int], list[int]]:
    mask = backend.encode("a").special_tokens_mask
    ids = backend.encode("a").ids
    inside = [place for place, special in enumerate(mask) if not special]
    if not inside:
        # "a" is unknown to a tiny vocabulary and mapped to a special token.
        bare = len(backend.encode("a", add_special_tokens=False).ids)
        inside = list(range(1, 1 + bare))
    return ids[: inside[0]], ids[inside[-1] + 1 :]


def _surrogate_message(texts: Sequence[str]) -> str:
    for number, text in enumerate(texts):
        for place, letter in enumerate(text):
            if "\ud800" <= letter <= "\udfff":
                return (
                    f"text {number} has a lone surrogate U+{ord(letter):04X} at character {place}, "
                    "which is no Unicode text; decode the source with errors='replace'"
                )
    return ""
