"""Probes: texts whose vectors are compared with those of the unmodified network."""

import numpy as np
import numpy.typing as npt

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
