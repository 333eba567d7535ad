"""The result of an export."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote, and what it costs.

    Attributes:
        output: the folder.
        model: the source model.
        task: ``embed``, or what the head does: ``classify``, ``tag``, ``read`` or ``rerank``.
        opset: the version of ONNX's operators.
        precision: ``float``, or ``onnx-int8`` with ``--int8``.
        bytes, source_bytes: the size of the ONNX file, and that of the source's weights.
        texts: texts on which the rest was measured.
        least_cosine, mean_cosine: cosines of vectors to those of the source in float32; of a head,
            those of all logits of a text.
        largest_difference: the largest difference of a component or of a logit.
    """

    output: str
    model: str
    task: str
    opset: int
    precision: str
    bytes: int
    source_bytes: int
    texts: int
    least_cosine: float
    mean_cosine: float
    largest_difference: float
