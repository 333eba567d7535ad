"""Sessions: an ONNX file that is ready to run in one of the engines, from any thread."""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput

Int64 = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
#: From ids and mask, int64 ``[rows, longest]``, to vectors, float32 ``[rows, dim]``. Each call
#: computes in the thread that makes it.
Run = Callable[[Int64, Int64], Floats]

INPUTS = ("input_ids", "attention_mask")


def open_onnx(content: bytes) -> Run:
    """Return a session of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Each core has a batch of its own.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(ids: Int64, mask: Int64) -> Floats:
        [vectors] = session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))
        return np.asarray(vectors, np.float32)

    return run


def open_openvino(content: bytes) -> Run:
    """Return a session of OpenVINO, in float32."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(content, b""),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": os.cpu_count() or 1,
            "INFERENCE_NUM_THREADS": os.cpu_count() or 1,
        },
    )
    own, process = threading.local(), os.getpid()

    def run(ids: Int64, mask: Int64) -> Floats:
        if os.getpid() != process:
            problem = "can't be used in a process that was forked after the model was loaded"
            remedy = "Start worker processes with spawn, or give --engine onnx"
            raise BadInput("engine", "openvino", problem, remedy)
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        # The result lies in memory of the request, which the next call writes to.
        return np.array(own.request.infer([ids, mask])[0], np.float32)

    return run


#: How each engine opens a file.
OPENERS: dict[str, Callable[[bytes], Any]] = {"onnx": open_onnx, "openvino": open_openvino}
