"""The placement of exported models, and of the models that only torch runs."""

from transforms.errors import BadInput
from transforms.models.identity import ONNX_INT8
from transforms.models.options import Placement
from transforms.models.resolve import Model
from transforms.runtime.extras import check_installed

_OWN = "Leave it out"
#: The libraries of each engine.
_LIBRARIES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}


def check_engine(placement: Placement, model: Model) -> None:
    """Check that the engine can run a model that was not exported.

    Raises:
        BadInput: the engine is another than torch.
    """
    if placement.engine not in ("auto", "torch"):
        name = model.identity.name
        problem = f"runs exported models, and {name} is none"
        remedy = f"Run albeam export {name} --format onnx --output FOLDER, and give --model FOLDER"
        raise BadInput("engine", placement.engine, problem, remedy)


def place_exported(placement: Placement, model: Model) -> Placement:
    """Return the placement of an exported model: its engine, and what its file computes in.

    Raises:
        BadInput: the engine is torch or is not installed, or the device or dtype is not the file's.
    """
    engine = "onnx" if placement.engine == "auto" else placement.engine
    if engine == "torch":
        problem = f"can't run {model.folder}, which albeam export wrote"
        remedy = "Give --engine onnx, or the model that was exported as --model"
        raise BadInput("engine", engine, problem, remedy)
    for library in _LIBRARIES[engine]:
        check_installed(library, "engine", engine)
    if placement.device == "cuda":
        raise BadInput("device", "cuda", "does not run exported models", "Give --device cpu")
    dtype = "int8" if model.identity.precision == ONNX_INT8 else "float32"
    if placement.dtype not in ("auto", dtype):
        problem = f"is not that of the exported file, which is {dtype}"
        raise BadInput("dtype", placement.dtype, problem, _OWN)
    return Placement("cpu", dtype, engine)
