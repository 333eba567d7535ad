"""Load the model of a store, which embeds its questions."""

from transforms.encoder.encoding import TextEncoder
from transforms.errors import BadInput
from transforms.models.identity import ModelIdentity
from transforms.models.options import Placement
from transforms.models.resolve import find_model, options_for
from transforms.runtime.forks import loading
from transforms.search.question_encoder import load_question_encoder


def load_store_model(
    url: str, identity: ModelIdentity, model: str | None, placement: Placement
) -> TextEncoder:
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
        try:
            found = find_model(options_for(identity, model))
        except BadInput as error:
            problem = f"can't be loaded for the store {url}: {error}"
            remedy = "If the model has moved, give its present folder with --model"
            raise BadInput("model", identity.name, problem, remedy) from error
        return load_question_encoder(found, placement)
