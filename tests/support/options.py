"""Options of runs with a tiny model."""

from pathlib import Path
from typing import Any

from pipeline.ingest.options import EmbedOptions
from transforms.catalog.options import ColumnOptions
from transforms.models.options import ModelOptions, Placement

#: The same vectors on every machine.
EXACT = Placement("cpu", "float32")


def embed_options(
    store: Path | str, model: Path | str, *inputs: Path | str, **changes: Any
) -> EmbedOptions:
    """Return options that embed all columns in passages of 48 tokens, which share 8 tokens."""
    values = {
        "inputs": tuple(map(str, inputs)),
        "store": str(store),
        "model": ModelOptions(str(model), max_tokens=48),
        "columns": ColumnOptions(all_columns=True),
        "stride": 8,
        "placement": EXACT,
    }
    return EmbedOptions(**(values | changes))
