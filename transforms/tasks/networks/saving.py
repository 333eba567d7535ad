"""Folders of trained heads, which transformers' Auto classes and `pipeline()` load as they are."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transforms.encoder.network import without_logs
from transforms.errors import AlbeamError
from transforms.tasks.training_options import HEAD
from transforms.training.export import replace_folder, write_json


def write_network(
    folder: Path,
    model: Any,
    tokenizer: Any,
    head: Mapping[str, Any],
    card: str,
    write_extra: Callable[[Path], object],
) -> None:
    """Write a network with its head, in float32.

    The folder appears whole or not at all, and replaces an earlier one there.

    Args:
        folder: where to write it.
        model: a network of transformers.
        tokenizer: its fast tokenizer.
        head: the content of ``head.json``; ``max_tokens`` is also the tokenizer's limit.
        card: the text of the model card.
        write_extra: writes further files into the folder.

    Raises:
        AlbeamError: a weight is not finite.
    """
    for name, weight in model.state_dict().items():
        if not bool(weight.isfinite().all()):
            raise AlbeamError(
                "output",
                str(folder),
                f"the model is not written, because {name} is not finite",
                "Train with a lower --rate",
            )
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with without_logs():
        model.save_pretrained(partial)
    (partial / "model.safetensors").chmod(0o644)  # safetensors keeps its files private
    saved = copy.deepcopy(tokenizer)
    saved.model_max_length = int(head["max_tokens"])
    saved.save_pretrained(partial)
    write_json(partial / HEAD, dict(head))
    (partial / "README.md").write_text(card, encoding="utf-8")
    write_extra(partial)
    replace_folder(partial, folder)
