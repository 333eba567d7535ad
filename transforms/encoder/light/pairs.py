"""Networks over pairs of texts in numpy: rerankers and readers without torch and transformers.

The scores are those of `transforms.search.cross_encoders` in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.encoder.answer_spans import MOST_TOKENS, question_room
from transforms.encoder.batching import cut_batches
from transforms.encoder.light.functions import ACTIVATIONS, Floats
from transforms.encoder.light.heads import HEADS, ClassHead, SpanHead, count_labels
from transforms.encoder.light.network import LightNetwork, MissingTensor
from transforms.encoder.light.weights import read_tensors
from transforms.models.model_files import read_object
from transforms.models.plain_config import load_plain_config
from transforms.models.plain_tokenizer import PlainTokenizer, load_plain_tokenizer
from transforms.models.resolve import usable_positions
from transforms.runtime.forks import Lock
from transforms.runtime.search_pool import search_pool

#: The states of so many tokens stay in a core's cache.
_TOKENS_PER_BATCH = 512
_PROBE = ("river", "bridge")


@dataclass(frozen=True)
class Framed:
    """Tokenized pairs.

    Attributes:
        encodings: the ``tokenizers.Encoding`` of each row.
        owners: the pair of each row; a long passage has several rows, if they were asked for.
    """

    encodings: list[Any]
    owners: list[int]


class LightPairs:
    """A loaded network with a head over pairs of texts. Threads may share one.

    Attributes:
        device, dtype: ``cpu`` and ``float32``.
        limit: the most tokens of a row.
        cls: the id of the first token; None if the tokenizer has none.
        special: how many tokens frame a pair.
        labels: how many logits the head gives.
        work_per_token: multiplications of a token, without attention.
    """

    device, dtype = "cpu", "float32"

    def __init__(
        self,
        network: LightNetwork,
        head: SpanHead | ClassHead,
        tokenizer: PlainTokenizer,
        limit: int,
        labels: int,
        work_per_token: int,
    ) -> None:
        """Hold the parts; use `load_light_pairs`."""
        self._network, self._head, self._typed = network, head, tokenizer.typed
        self.limit, self.labels, self.work_per_token = limit, labels, work_per_token
        self.cls = tokenizer.special.get("cls_token")
        self._backend = tokenizer.backend
        self._backend.no_padding()
        self.special = self._backend.num_special_tokens_to_add(True)
        # The settings of a tokenizer are those of all its calls.
        self._tokenizing = Lock()

    def frame(self, pairs: Sequence[tuple[str, str]], overlap: int | None = None) -> Framed:
        """Tokenize pairs.

        Args:
            pairs: questions and passages. A question has at most half of a row.
            overlap: the tokens that two rows of a long passage share; None cuts such a passage.
        """
        with self._tokenizing:
            self._backend.no_truncation()
            cut = [(self._cut(question), passage) for question, passage in pairs]
            self._backend.enable_truncation(self.limit, stride=overlap or 0, strategy="only_second")
            # One call for all would use threads that a forked process lacks.
            found = [self._backend.encode(*pair) for pair in cut]
        rows = [
            [encoding, *(encoding.overflowing if overlap is not None else ())] for encoding in found
        ]
        owners = [pair for pair, some in enumerate(rows) for _ in some]
        return Framed([encoding for some in rows for encoding in some], owners)

    def forward(self, framed: Framed) -> list[Floats]:
        """Return the head's logits of each row, float32: ``[2, tokens]`` or ``[1, labels]``."""
        lengths = np.array([len(each.ids) for each in framed.encodings], np.int64)
        order = np.argsort(-lengths, kind="stable")
        found: list[Floats] = [np.zeros((0, 0), np.float32)] * len(lengths)

        def fill(rows: npt.NDArray[np.int64]) -> None:
            some = [framed.encodings[row] for row in rows]
            ids = np.concatenate([np.array(each.ids, np.int64) for each in some])
            types = None
            if self._typed:
                types = np.concatenate([np.array(each.type_ids, np.int64) for each in some])
            states = self._network(ids, lengths[rows], types=types)
            for row, logits in zip(rows, self._head(states, lengths[rows]), strict=True):
                found[int(row)] = logits

        batches = list(cut_batches(order, lengths, lambda: _TOKENS_PER_BATCH, padded=False))
        # A product uses one thread, so each core has a batch of its own.
        list((search_pool().map if len(batches) > 1 else map)(fill, batches))
        return found

    def _cut(self, question: str) -> str:
        """Cut a question, so that half of the tokens are left for the passage."""
        offsets = self._backend.encode(question, add_special_tokens=False).offsets
        most = question_room(self.limit)
        return question if len(offsets) <= most else question[: offsets[most - 1][1]]


def load_light_pairs(folder: str, name: str, head: str) -> LightPairs | None:
    """Load a network over pairs; None if it takes torch or transformers.

    Args:
        folder: the model's folder.
        name: the user's name of the model, for errors.
        head: the end of transformers' ``AutoModelFor…``, a key of `HEADS`.

    Raises:
        BadInput: a file of the model can't be used.
    """
    config = load_plain_config(folder, name)
    if config is None or config.hidden_act not in ACTIVATIONS:
        return None
    tokenizer = load_plain_tokenizer(folder, name)
    if tokenizer is None or not _frames_pairs(tokenizer):
        return None
    labels = count_labels(read_object(folder, "config.json", name))
    tensors = read_tensors(folder, name)
    try:
        network = LightNetwork(config, tensors)
        top = HEADS[head](config, tensors, labels)
    except MissingTensor:
        return None
    limit = min(usable_positions(config), tokenizer.longest or MOST_TOKENS, MOST_TOKENS)
    width, inner = config.hidden_size, config.intermediate_size
    work = config.num_hidden_layers * (4 * width * width + 2 * width * inner)
    return LightPairs(network, top, tokenizer, limit, labels, work)


def _frames_pairs(tokenizer: PlainTokenizer) -> bool:
    """Return whether the file frames pairs as transformers' tokenizer would."""
    special, backend = tokenizer.special, tokenizer.backend
    if "pad_token" not in special:
        return False
    if not tokenizer.rebuilt:
        return True
    backend.no_truncation()
    first, second = (backend.encode(text, add_special_tokens=False).ids for text in _PROBE)
    both = backend.encode(*_PROBE)
    cls, sep = special["cls_token"], special["sep_token"]
    ids = [cls, *first, sep, *second, sep]
    types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    return bool(both.ids == ids and both.type_ids == types)
