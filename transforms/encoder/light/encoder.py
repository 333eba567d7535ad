"""An encoder in numpy: turns texts into vectors without torch and transformers.

The vectors are those of `transforms.encoder.encoder` in float32. It takes milliseconds to load and
for a question; for many texts, torch is faster.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.encoder.batching import Batch, cut_batches
from transforms.encoder.encoding import NON_FINITE, Encoding, checked_vectors, frame_texts
from transforms.encoder.light.functions import ACTIVATIONS, Floats
from transforms.encoder.light.network import LightNetwork, MissingTensor
from transforms.encoder.light.weights import read_tensors
from transforms.models.model_files import refusing
from transforms.models.plain_config import load_plain_config
from transforms.models.plain_tokenizer import load_plain_tokenizer
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer
from transforms.runtime.forks import loading
from transforms.runtime.search_pool import search_pool

#: The states of so many tokens stay in a core's cache.
_TOKENS_PER_BATCH = 512
#: The shortest length that a vector is divided by, as in torch.
_SHORTEST = 1e-12


class LightEncoder:
    """A loaded model that embeds texts on the CPU in float32. Threads may share one.

    Attributes:
        identity: the identity of its vectors.
        tokenizer: its tokenizer.
        device, dtype: ``cpu`` and ``float32``.
        work_per_token: multiplications of a token, without attention.
    """

    device, dtype = "cpu", "float32"

    def __init__(self, model: Model, network: LightNetwork, tokenizer: Tokenizer) -> None:
        """Hold the parts; use `load_light_encoder`."""
        self.identity, self.tokenizer = model.identity, tokenizer
        self._network = network
        width, inner = model.hidden_size, model.intermediate_size
        self.work_per_token = model.layers * (4 * width * width + 2 * width * inner)

    def encode_texts(self, texts: list[str], prompt: str = "") -> npt.NDArray[np.float32]:
        """Return the vectors of texts, float32 ``[texts, dim]``.

        Each text is truncated to the model's ``max_tokens``.

        Raises:
            BadInput: a text can't be embedded.
        """
        tokens = frame_texts(self.tokenizer, self.identity, texts, prompt)
        return checked_vectors(self.encode(tokens), texts)

    def encode(self, tokens: pa.ListArray) -> Encoding:
        """Return the vectors of framed token ids, one per row, in order.

        Args:
            tokens: ``list<int32>`` without nulls and without empty rows.
        """
        lengths = np.diff(tokens.offsets.to_numpy().astype(np.int64))
        order = np.argsort(-lengths, kind="stable")
        vectors = np.empty((len(tokens), self.identity.dim), np.float32)

        def fill(rows: npt.NDArray[np.int64]) -> None:
            vectors[rows] = self._forward(Batch.take(tokens, rows))

        batches = list(cut_batches(order, lengths, lambda: _TOKENS_PER_BATCH, padded=False))
        # A product uses one thread, so each core has a batch of its own.
        list((search_pool().map if len(batches) > 1 else map)(fill, batches))
        failed = np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist()
        return Encoding(vectors, dict.fromkeys(failed, NON_FINITE))

    def _forward(self, batch: Batch) -> Floats:
        states = self._network(batch.ids, batch.lengths, self.identity.layer)
        vectors = pool(states, batch.lengths, self.identity.pooling)
        if self.identity.normalize:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.maximum(lengths, np.float32(_SHORTEST))
        return vectors


def pool(states: Floats, lengths: npt.NDArray[np.int64], pooling: str) -> Floats:
    """Return one vector per sequence; see `transforms.encoder.network.pool`."""
    starts = np.cumsum(lengths) - lengths
    if pooling == "cls":
        return np.asarray(states[starts], np.float32)
    if pooling == "max":
        return np.asarray(np.maximum.reduceat(states, starts), np.float32)
    sums = np.add.reduceat(states, starts)
    return np.asarray(sums / lengths[:, None].astype(np.float32), np.float32)


def load_light_encoder(model: Model) -> LightEncoder | None:
    """Load a model that is ready to embed; None if it takes torch or transformers.

    Raises:
        BadInput: a file of the model can't be used.
    """
    if model.activation not in ACTIVATIONS:
        return None
    name = model.identity.name
    with refusing(name, "can't be loaded"), loading():
        config = load_plain_config(model.folder, name)
        if config is None:
            return None
        plain = load_plain_tokenizer(model.folder, name)
        if plain is None:
            return None
        try:
            network = LightNetwork(config, read_tensors(model.folder, name))
        except MissingTensor:
            return None
        return LightEncoder(model, network, Tokenizer(plain.backend, plain.unknown, name))
