"""Reference vectors of the unmodified network, which every backend is compared with."""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from transforms.encoder.network import load_network, pool
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer

#: Texts whose vectors are compared when an encoder is loaded.
PROBES = (
    "ALBERT shares one layer's weights among all its layers.",
    "How do I search a corpus by meaning?",
    "Yes.",
    "In 1998, 12 % of the 3,450 samples (see Fig. 2) weighed less than 0.5 kg; none was lost.",
)
#: The smallest cosine between a backend's vectors and the reference that is accepted.
MIN_COSINE = {"float32": 0.999999, "bfloat16": 0.9995, "float16": 0.9995, "int8": 0.97}


def reference_vectors(model: Model, ids: list[list[int]]) -> npt.NDArray[np.float32]:
    """Return the unmodified network's vectors: eager, float32, one text at a time, on the CPU.

    Args:
        model: the model, with its layer, pooling and normalization.
        ids: framed token ids, one list per text.

    Returns:
        float32 ``[texts, dim]``.
    """
    network = load_network(model, "cpu", "float32", "eager")
    vectors = []
    with torch.inference_mode():
        for text in ids:
            output = network(input_ids=torch.tensor([text]), output_hidden_states=True)
            states = output.hidden_states[model.identity.layer][0]
            vectors.append(pool(states, torch.tensor([len(text)]), model.identity.pooling))
        stacked = torch.cat(vectors)
        if model.identity.normalize:
            stacked = functional.normalize(stacked, dim=1)
    return stacked.numpy()


#: The unmodified network computes the scores of all pairs of tokens at once, for each head.
_LONGEST = 4_096


def probe_ids(tokenizer: Tokenizer, max_tokens: int) -> list[list[int]]:
    """Return the framed ids of the texts that are compared; one of them is of full length."""
    most = min(max_tokens, _LONGEST)
    full = " ".join([*PROBES] * (1 + most // 8))
    return tokenizer.encode_framed([*PROBES, full], most)


def smallest_cosine(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> float:
    """Return the smallest cosine between vectors of the same text."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.min((a * b).sum(axis=1) / norms))
