"""Load the encoder of passages: torch's, or that of an exported model."""

from transforms.encoder.encoding import PassageEncoder
from transforms.encoder.engines.encoder import load_engine_encoder
from transforms.models.options import Placement
from transforms.models.resolve import Model


def load_passage_encoder(model: Model, placement: Placement) -> PassageEncoder:
    """Load a model that is ready to embed, in the engine of the placement.

    Raises:
        BadInput: what `load_encoder` or `load_engine_encoder` raises.
    """
    if model.exported is not None:
        return load_engine_encoder(model, placement)
    from transforms.encoder.encoder import load_encoder

    return load_encoder(model, placement)
