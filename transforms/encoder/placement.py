"""The choice of an encoder's device and dtype, and an estimate of its speed."""

import logging
import os
from dataclasses import replace

from transforms.encoder.engines.placement import check_engine, place_exported
from transforms.encoder.layer_parts import can_fuse
from transforms.errors import BadInput
from transforms.models.identity import FLOAT, INT8
from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.runtime.devices import best_dtype, resolve_device, supports_int8

_LOGGER = logging.getLogger(__name__)


def resolve_placement(placement: Placement, model: Model) -> Placement:
    """Replace ``auto`` by what the model's config asks for, else by what is best on this machine.

    For a model of a store with int8 passages, ``auto`` is int8. On a CPU without units for it,
    int8 is replaced by float32.

    Raises:
        BadInput: CUDA is requested but not available, int8 for a GPU or another family, or an
            engine that does not run the model.
    """
    if model.exported is not None:
        return place_exported(placement, model)
    check_engine(placement, model)
    device = resolve_device(placement.device)
    if placement.dtype == "int8":
        return Placement(device, _int8_or_float32(model, device))
    if placement.dtype != "auto":
        return Placement(device, placement.dtype)
    if model.identity.precision == INT8 and device == "cpu":
        return Placement(device, _int8_or_float32(model, device))
    dtype = model.dtype or best_dtype(device)
    if dtype == "float32":
        reason = "its config asks for it" if model.dtype else f"this {device} has no fast bfloat16"
        _LOGGER.info("%s is embedded in float32: %s", model.identity.name, reason)
    return Placement(device, dtype)


def _int8_or_float32(model: Model, device: str) -> str:
    if device != "cpu":
        raise BadInput("dtype", "int8", "is for CPUs", "Give --device cpu or another --dtype")
    if not can_fuse(model.model_type, model.activation, device):
        problem = f"is for ALBERT and BERT, not for {model.model_type!r}"
        raise BadInput("dtype", "int8", problem, "Give --dtype auto")
    if supports_int8():
        return "int8"
    _LOGGER.warning(
        "%s is embedded in float32: this CPU has no units for int8 (AVX2, VNNI or AMX)",
        model.identity.name,
    )
    return "float32"


def with_precision(model: Model, placement: Placement) -> Model:
    """Return the model with the precision that its passages have in a resolved placement."""
    if model.exported is not None:
        return model
    precision = INT8 if placement.dtype == "int8" else FLOAT
    return replace(model, identity=replace(model.identity, precision=precision))


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
