"""Choose device and dtype of an encoder, and estimate its speed."""

import logging
import os

from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.runtime.devices import best_dtype, resolve_device

_LOGGER = logging.getLogger(__name__)


def resolve_placement(placement: Placement, model: Model) -> Placement:
    """The placement with ``auto`` replaced by what the model asks for, or the machine does best.

    Raises:
        BadInput: CUDA is asked for and not there.
    """
    device = resolve_device(placement.device)
    if placement.dtype != "auto":
        return Placement(device, placement.dtype)
    dtype = model.dtype or best_dtype(device)
    if dtype == "float32":
        reason = "its config asks for it" if model.dtype else f"this {device} has no fast bfloat16"
        _LOGGER.info("%s is embedded in float32: %s", model.identity.name, reason)
    return Placement(device, dtype)


def expected_rate(model: Model, placement: Placement) -> float:
    """Tokens a second that a worker is expected to embed, within a factor of a few.

    From the multiplications of a token's linear layers (four projections and two feed-forward
    layers in each layer) and a guess of what the device does in a second.
    """
    width, inner = model.hidden_size, model.intermediate_size
    per_token = 2 * model.layers * (4 * width * width + 2 * width * inner)
    resolved = resolve_placement(placement, model)
    if resolved.device == "cuda":
        rate = 1e14 if resolved.dtype != "float32" else 2e13
    else:
        rate = (6e10 if resolved.dtype != "float32" else 2.5e10) * (os.cpu_count() or 1)
    return rate / per_token
