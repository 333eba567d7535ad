"""Quantization of an exported graph by ONNX Runtime: weights as bytes, for each output channel."""

import logging
import tempfile
from pathlib import Path
from typing import Any


def quantize(model: Any) -> Any:
    """Return a ``ModelProto`` whose products with weights are made of bytes.

    Activations are quantized while it runs, with a scale for each batch. So a vector depends a
    little on the texts that it is computed with.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        # It advises a preparation that the exporter has done.
        logger.setLevel(logging.ERROR)
        try:
            quantize_dynamic(
                model,
                file,
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "Gemm"],
            )
        finally:
            logger.setLevel(level)
        return onnx.load(file)
