"""The encoder of questions: without torch for a few texts, with torch for many.

The import of torch and of transformers takes seconds. In that time the light encoder embeds
thousands of questions. Texts that take longer are worth the import, and are embedded by torch if it
is installed.
"""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.encoder.encoding import Encoding, TextEncoder, checked_vectors, frame_texts
from transforms.encoder.engines.encoder import load_engine_encoder
from transforms.encoder.light.encoder import LightEncoder, load_light_encoder
from transforms.models.identity import ModelIdentity
from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer
from transforms.runtime.extras import check_installed, is_installed
from transforms.runtime.forks import Lock, loading
from transforms.runtime.once import Once

#: Calls with at most so many tokens, such as one question, never need torch.
FEW_TOKENS = 512
#: The multiplications that a core computes in about the time that the import of torch takes.
MOST_WORK = 1.5e11


class QuestionEncoder:
    """A loaded model that embeds a few texts by numpy, and many by torch. Threads may share one.

    Attributes:
        identity: the identity of its vectors.
        tokenizer: its tokenizer.
        light: the encoder in numpy.
    """

    def __init__(self, light: LightEncoder, load: Callable[[], TextEncoder]) -> None:
        """Hold a light encoder, and how the encoder in torch is loaded."""
        self.identity: ModelIdentity = light.identity
        self.tokenizer: Tokenizer = light.tokenizer
        self.light, self._load = light, Once(load)
        self._loaded, self._work = False, 0.0
        self._lock = Lock()

    @property
    def device(self) -> str:
        """The device of larger calls."""
        return self._larger.device

    @property
    def dtype(self) -> str:
        """The dtype of larger calls."""
        return self._larger.dtype

    def encode_texts(self, texts: list[str], prompt: str = "") -> npt.NDArray[np.float32]:
        """Return the vectors of texts, float32 ``[texts, dim]``.

        Each text is truncated to the model's ``max_tokens``.

        Raises:
            BadInput: a text can't be embedded.
        """
        tokens = frame_texts(self.tokenizer, self.identity, texts, prompt)
        return checked_vectors(self.encode(tokens), texts)

    def encode(self, tokens: pa.ListArray) -> Encoding:
        """Return the vectors of framed token ids, one per row, in order; see `TextEncoder`."""
        count = len(tokens.flatten())
        encoder = self.light if count <= FEW_TOKENS or not self._is_worth(count) else self.full()
        return encoder.encode(tokens)

    def full(self) -> TextEncoder:
        """Return the encoder in torch, loaded when first used; without torch, the light one."""
        if not self._has_torch:
            return self.light
        found = self._load()
        self._loaded = True
        return found

    @property
    def _larger(self) -> TextEncoder:
        return self.full() if self._loaded else self.light

    @cached_property
    def _has_torch(self) -> bool:
        return is_installed("torch") and is_installed("transformers")

    def _is_worth(self, tokens: int) -> bool:
        """Return whether torch shall embed so many tokens; count them among all larger calls."""
        with self._lock:
            self._work += tokens * self.light.work_per_token
            return self._loaded or self._work > MOST_WORK


def full_encoder(encoder: TextEncoder) -> TextEncoder:
    """Return the encoder that embeds passages, which a question encoder loads for it."""
    return encoder.full() if isinstance(encoder, QuestionEncoder) else encoder


def steady_encoder(encoder: TextEncoder) -> TextEncoder:
    """Return the encoder whose vectors are the same whatever else is or was embedded.

    It is numpy's, where the model has one. torch rounds otherwise, by what stands beside a text.
    """
    return encoder.light if isinstance(encoder, QuestionEncoder) else encoder


def load_question_encoder(model: Model, placement: Placement) -> TextEncoder:
    """Load a model that is ready to embed questions.

    torch is imported only if the placement asks for what it alone has, or if the model is no plain
    ALBERT or BERT.

    Raises:
        BadInput: what `transforms.encoder.encoder.load_encoder` raises, or torch is needed and not
            installed.
    """
    if model.exported is not None:
        return load_engine_encoder(model, placement)
    if placement.device == "cuda":
        check_installed("torch", "device", placement.device)
    elif placement.dtype not in ("auto", "float32"):
        check_installed("torch", "dtype", placement.dtype)
    elif light := load_light_encoder(model):
        return QuestionEncoder(light, partial(_load_full, model, placement))
    return _load_full(model, placement)


def _load_full(model: Model, placement: Placement) -> TextEncoder:
    for library in ("torch", "transformers"):
        check_installed(library, "model", model.identity.name)
    with loading():
        from transforms.encoder.encoder import load_encoder
    return load_encoder(model, placement)
