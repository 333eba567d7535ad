"""The choice of an encoder's device and dtype, and an estimate of its speed."""

import logging
import os

from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.runtime.devices import best_dtype, resolve_device

_LOGGER = logging.getLogger(__name__)


def resolve_placement(placement: Placement, model: Model) -> Placement:
    """Replace ``auto`` by what the model's config asks for, else by what is best on this machine.

    Raises:
        BadInput: CUDA is requested but not available.
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
    """Estimate, within a small factor, how many tokens a worker embeds per second.

    The estimate divides a guess of the device's speed by the multiplications per token: four
    projections and two feed-forward layers in each layer.
    """
    width, inner = model.hidden_size, model.intermediate_size
    per_token = 2 * model.layers * (4 * width * width + 2 * width * inner)
    resolved = resolve_placement(placement, model)
    if resolved.device == "cuda":
        rate = 1e14 if resolved.dtype != "float32" else 2e13
    else:
        rate = (6e10 if resolved.dtype != "float32" else 2.5e10) * (os.cpu_count() or 1)
    return rate / per_token
