"""The model card of a compressed model."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.compression.options import CompressOptions
from pipeline.compression.report import figure_rows, saving_rows
from pipeline.compression.summary import CompressSummary


def compression_card(options: CompressOptions, summary: CompressSummary) -> str:
    """Return the card in Markdown: where the model comes from, and the table of both models."""
    how = (
        "from the change of the vectors of texts when it is removed, to the first order"
        if summary.importance == "taylor"
        else "from the norms of its weights"
    )
    lines = [
        f"# {options.output.name}\n",
        f"A smaller form of `{options.model.name}`, which `albeam compress` made. Its vectors are "
        "not those of the original: embed passages and questions with the same model.\n",
        "## Use\n",
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        f'vectors = SentenceTransformer("{options.output.name}").encode(["a text"])\n```\n',
        "## Figures\n",
        *_table(("", "original", "compressed"), figure_rows(summary)),
        "Speed is measured by turns on one machine, without tokenization; on a CPU a second is one "
        "of processor time. Weights are in float16.",
    ]
    if summary.cosine is not None:
        lines.append(f"Cosines are those of {summary.held_out:,} texts that no step used.")
    else:
        lines.append("Quality was not measured: no texts were given.")
    lines += [
        "",
        "## What each part saves\n",
        *_table(("alone", "before", "after", "parameters", "products"), saving_rows(summary)),
        *(f"- {each.note}" for each in summary.savings if each.note),
        "",
        "## How it was made\n",
        f"The importance of heads and inner units was computed {how}.",
    ]
    if summary.importance == "taylor":
        lines.append(
            "The outputs of the units that remain were fitted to those of all, by least squares."
        )
    if summary.recovery is not None:
        lines.append(
            f"The model was then trained for {summary.recovery.steps:,} steps to give the vectors "
            f"of the original; the weights are those of step {summary.recovery.best_step:,}."
        )
    return "\n".join([*lines, ""])


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    numbers = [" ---: "] * (len(names) - 1)
    lines = [f"| {' | '.join(names)} |", f"| --- |{'|'.join(numbers)}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]
