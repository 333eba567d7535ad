"""The words that ``--augment synonym`` may put in the place of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.training.options import AugmentedOptions
from transforms.tasks.data.augmentation import Neighbours, near_words


def find_near_words(
    options: AugmentedOptions, model: Any, tokenizer: Any, texts: Sequence[str]
) -> Neighbours:
    """Return the words near each word of the training texts; none unless they are asked for.

    Args:
        options: the options of the training.
        model: the network of transformers that is trained, as it is at the start.
        tokenizer: its tokenizer.
        texts: the training texts.
    """
    if "synonym" not in options.augment:
        return {}
    vectors = model.get_input_embeddings().weight.detach().cpu().numpy()
    return near_words(texts, tokenizer.get_vocab(), vectors)
