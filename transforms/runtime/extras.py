"""The libraries of albeam's extras: which are installed, and what brings one that is missing."""

from importlib.util import find_spec
from typing import Any

from transforms.errors import BadInput

#: The extras that bring a library, by the name of its module, with the library's own name.
_EXTRAS = {
    "apache_beam": ("Apache Beam", "cpu"),
    "onnx": ("onnx", "onnx"),
    "onnxruntime": ("ONNX Runtime", "onnx"),
    "onnxscript": ("onnxscript", "onnx"),
    "openvino": ("OpenVINO", "openvino"),
    "snowballstemmer": ("snowballstemmer", "bundle"),
    "sentencepiece": ("sentencepiece", "cpu"),
    "torch": ("PyTorch", "cpu"),
    "transformers": ("transformers", "cpu"),
}


def is_installed(module: str) -> bool:
    """Return whether a library can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        # Something hides it: an import hook, or a None among the imported modules.
        return False


def install(module: str) -> str:
    """Return the command that installs a library of `_EXTRAS`."""
    return f"pip install 'albeam[{_EXTRAS[module][1]}]'"


def check_installed(module: str, option: str, value: Any) -> None:
    """Raise BadInput if a library that an option's value needs is not installed."""
    if not is_installed(module):
        problem = f"needs {_EXTRAS[module][0]}, which is not installed"
        raise BadInput(option, value, problem, f"Run {install(module)}")


def missing_library(error: BaseException, who: str) -> str:
    """Return a sentence about the library that is missing, "" if it is of no extra.

    Args:
        error: what was raised, perhaps by an import.
        who: what needs the library, such as ``embed``.
    """
    module = (getattr(error, "name", None) or "").split(".")[0]
    if module not in _EXTRAS or is_installed(module):
        return ""
    return f"{who} needs {_EXTRAS[module][0]}: {install(module)}"
