"""Reference vectors of the unmodified network, which every backend is compared with."""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from transforms.encoder.network import load_network, pool
from transforms.models.resolve import Model


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
