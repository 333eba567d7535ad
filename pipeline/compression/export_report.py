"""What ``albeam export`` prints."""

from pipeline.command_line.console import counted, note, say
from transforms.compression.onnx_export.summary import ExportSummary
from transforms.models.exported import EMBED, FILE
from transforms.models.identity import FLOAT


def print_export(summary: ExportSummary) -> None:
    """Print what was written, and what it costs."""
    say(
        f"{summary.output}: {FILE} of {summary.bytes / 1e6:.1f} MB, opset {summary.opset}; "
        f"the weights of {summary.model} have {summary.source_bytes / 1e6:.1f} MB"
    )
    what = "vectors" if summary.task == EMBED else f"scores of the head ({summary.task})"
    say(
        f"{what} beside the model's in float32, on {counted(summary.texts, 'text')}: cosine "
        f"{summary.least_cosine:.6f} at least, {summary.mean_cosine:.6f} on average; largest "
        f"difference {summary.largest_difference:.2g}"
    )
    if summary.precision != FLOAT:
        note("A store of these vectors takes no vectors of another precision.")
    if summary.task == EMBED:
        note(f"Embed with it: albeam embed INPUT --store STORE --model {summary.output}")
