"""The model card that lies beside a trained head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_BEST_STEP = (
    "The validation rows decide which step's weights are kept, so its metrics are a little too "
    "good. Measure on rows that no training saw."
)
_LIMITS = (
    "Texts of another kind or language than the training rows may get any answer.",
    "Biases of the training data and of the encoder remain.",
)


def model_card(
    title: str,
    about: str,
    *,
    data: Mapping[str, object],
    settings: Mapping[str, object],
    metrics: Mapping[str, float],
    usage: str,
    limits: Sequence[str] = (),
    measured: str = _BEST_STEP,
) -> str:
    """Return a model card in Markdown.

    Args:
        title: the name of the model.
        about: a paragraph about what it does.
        data: facts about the data, by name.
        settings: the settings of the training, by name.
        metrics: the metrics of the validation rows, by name.
        usage: Python that uses the model.
        limits: what else it can't do.
        measured: what the metrics don't say.
    """
    return "\n".join(
        [
            f"# {title}\n",
            f"{about}\n",
            "## Use\n",
            f"```python\n{usage}\n```\n",
            "## Training data\n",
            *_table(data),
            "## Training\n",
            *_table(settings),
            "## Validation\n",
            *_table({name: f"{value:.4f}" for name, value in metrics.items()}),
            "## Limits\n",
            *(f"- {limit}" for limit in (*limits, measured, *_LIMITS)),
            "",
        ]
    )


def _table(rows: Mapping[str, object]) -> list[str]:
    cells = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    return ["| what | value |", "| --- | --- |", *cells, ""]


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
