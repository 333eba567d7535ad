"""The process of a peer that has an environment of its own; it imports nothing of albeam.

Run as ``python peer_worker.py KIND MODEL WORK THREADS``. Each line of standard input is a JSON
object, and each gets one line on standard output: ``{}``, or ``{"error": …}``.

- ``{"texts": […]}`` are the texts of the next runs.
- ``{"batch_size": N, "output": FILE}`` embeds them, longest first, and saves the vectors.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

#: From texts and a batch size to vectors.
Embed = Callable[[list[str], int], Any]
#: Texts of the calibration, as many as OpenVINO's quantizer takes by default.
_CALIBRATED = 300


def openvino_int8(model: str, work: Path, threads: int, texts: list[str]) -> Embed:
    """Quantize as ``export_static_quantized_openvino_model`` is documented."""
    library = import_module("sentence_transformers")
    folder, settings = str(shutil.copytree(model, work / "model")), _openvino_settings(threads)
    exact = library.SentenceTransformer(folder, backend="openvino", model_kwargs=settings)
    # The documented data set is on a hub; these are texts like those to embed.
    calibration = work / "calibration"
    calibration.mkdir()
    repeated = (texts * (_CALIBRATED // len(texts) + 1))[:_CALIBRATED]
    lines = [json.dumps({"text": text}) for text in repeated]
    (calibration / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config = import_module("optimum.intel").OVQuantizationConfig()
    export = import_module("sentence_transformers.backend").export_static_quantized_openvino_model
    export(exact, config, folder, str(calibration), "default", "train", "text")
    settings["file_name"] = "openvino/openvino_model_qint8_quantized.xml"
    return _encode(library.SentenceTransformer(folder, backend="openvino", model_kwargs=settings))


def onnx_int8(model: str, work: Path, threads: int, texts: list[str]) -> Embed:  # noqa: ARG001
    """Quantize as ``export_dynamic_quantized_onnx_model`` is documented."""
    library = import_module("sentence_transformers")
    folder = str(shutil.copytree(model, work / "model"))
    options = import_module("onnxruntime").SessionOptions()
    options.intra_op_num_threads = threads
    settings = {"provider": "CPUExecutionProvider", "session_options": options}
    exact = library.SentenceTransformer(folder, backend="onnx", model_kwargs=settings)
    export = import_module("sentence_transformers.backend").export_dynamic_quantized_onnx_model
    export(exact, "avx512_vnni", folder)
    settings["file_name"] = "onnx/model_qint8_avx512_vnni.onnx"
    return _encode(library.SentenceTransformer(folder, backend="onnx", model_kwargs=settings))


def fastembed(model: str, work: Path, threads: int, texts: list[str]) -> Embed:  # noqa: ARG001
    """Register the exported network as a model of fastembed's own."""
    library = import_module("fastembed")
    described = import_module("fastembed.common.model_description")
    folder = shutil.copytree(model, work / "model")
    shutil.copy(work / "model.onnx", folder)
    width = json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    library.TextEmbedding.add_custom_model(
        model="albeam/peer",
        pooling=described.PoolingType.MEAN,
        normalization=True,
        sources=described.ModelSource(hf="albeam/peer"),
        dim=width,
        model_file="model.onnx",
    )
    peer = library.TextEmbedding(
        "albeam/peer", specific_model_path=str(folder), threads=threads, local_files_only=True
    )
    numpy = import_module("numpy")

    def embed(texts: list[str], batch_size: int) -> Any:
        # It pads its batches, and does not sort.
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        found = numpy.stack([*peer.embed([texts[row] for row in order], batch_size)])
        vectors = numpy.empty_like(found)
        vectors[order] = found
        return vectors

    return embed


def _openvino_settings(threads: int) -> dict[str, Any]:
    return {"ov_config": {"INFERENCE_NUM_THREADS": threads}}


def _encode(peer: Any) -> Embed:
    """Return the documented call, which sorts by length itself."""
    return lambda texts, size: peer.encode(texts, batch_size=size, show_progress_bar=False)


KINDS = {"openvino-int8": openvino_int8, "onnx-int8": onnx_int8, "fastembed": fastembed}


def main() -> None:
    """Answer requests until the input ends."""
    kind, model, work, threads = sys.argv[1:]
    # Libraries print to standard output too; the answers have a copy of it for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    numpy = import_module("numpy")
    embed: Embed | None = None
    texts: list[str] = []
    for line in sys.stdin:
        request, answer = json.loads(line), {}
        try:
            texts = request.get("texts", texts)
            if embed is None:
                embed = KINDS[kind](model, Path(work), int(threads), texts)
            if "output" in request:
                vectors = numpy.asarray(embed(texts, request["batch_size"]), numpy.float32)
                numpy.save(request["output"], vectors)
        except Exception as error:
            answer = {"error": str(error).strip() or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
