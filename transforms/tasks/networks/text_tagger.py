"""A whole network that finds entities, as ``albeam finetune tag`` writes it, at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transforms.models.options import Placement
from transforms.runtime.once import Once
from transforms.tasks.data.bio import Spans, entities, find_words
from transforms.tasks.networks.network_files import BATCH_TOKENS, load_network


@dataclass(frozen=True)
class Entity:
    """An entity of a text.

    Attributes:
        start: its first code point.
        end: the code point after its last.
        type: its type.
        text: its text.
        score: the mean probability of the tags of its words.
    """

    start: int
    end: int
    type: str
    text: str
    score: float


class TextTagger:
    """A tagger that is loaded."""

    def __init__(self, folder: str, placement: Placement) -> None:
        """Load a tagger; see `load_network`."""
        self.settings, self._network, self._tokenizer = load_network(folder, "tag", placement)

    def entities(
        self, texts: Sequence[str], words: Sequence[Spans] | None = None
    ) -> list[list[Entity]]:
        """Return the entities of each text, in the order of the text.

        A long text is read in windows; see `tagging`.

        Args:
            texts: the texts.
            words: the code points of each text's words; None for those of `find_words`.
        """
        import torch

        from transforms.tasks.networks.batches import validation_batches
        from transforms.tasks.networks.tagging import place_words, word_classes
        from transforms.tasks.networks.windows import cut_windows

        if not len(texts):
            return []
        words = [find_words(text) for text in texts] if words is None else words
        settings = self.settings
        windows = cut_windows(
            self._tokenizer, texts, settings.max_tokens, settings.overlap, offsets=True
        )
        with torch.inference_mode():
            batches = validation_batches(windows, BATCH_TOKENS)
            codes, scores = word_classes(self._network, batches, place_words(windows, words))
        made, first = [], 0
        for text, spans in zip(texts, words, strict=True):
            tags = [settings.classes.names[code] for code in codes[first : first + len(spans)]]
            found = []
            for each in entities(tags):
                start, end = int(spans[each.start, 0]), int(spans[each.end - 1, 1])
                score = float(scores[first + each.start : first + each.end].mean())
                found.append(Entity(start, end, each.type, text[start:end], score))
            made.append(found)
            first += len(spans)
        return made


#: The tagger that all threads of a process share.
tagger_of = Once(TextTagger, 1)
