"""The libraries that ``albeam export`` needs."""

from transforms.compression.onnx_export.options import ExportOptions
from transforms.runtime.extras import check_installed

_LIBRARIES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")


def check_libraries(options: ExportOptions) -> None:
    """Raise BadInput, with the extra to install, if one of them is missing."""
    for library in _LIBRARIES:
        check_installed(library, "format", options.format)
