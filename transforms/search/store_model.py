"""Load the model of a store, which embeds its questions."""

from typing import TYPE_CHECKING

from transforms.errors import BadInput
from transforms.models.identity import ModelIdentity
from transforms.models.options import Placement
from transforms.models.resolve import find_model, options_for
from transforms.runtime.forks import loading

if TYPE_CHECKING:
    from transforms.encoder.encoder import Encoder


def load_store_model(
    url: str, identity: ModelIdentity, model: str | None, placement: Placement
) -> "Encoder":
    """Load the model that embedded a store.

    Args:
        url: the store, for the error.
        identity: the model of the store's vectors.
        model: the model's present folder, if it has moved.
        placement: the device and the dtype.

    Raises:
        BadInput: the model is not where it was, or has changed.
    """
    with loading():
        from transforms.encoder.encoder import load_encoder

        try:
            found = find_model(options_for(identity, model))
        except BadInput as error:
            problem = f"can't be loaded for the store {url}: {error}"
            remedy = "If the model has moved, give its present folder with --model"
            raise BadInput("model", identity.name, problem, remedy) from error
        return load_encoder(found, placement)
