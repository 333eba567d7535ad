"""``albeam export``: read the texts, export, and measure on them."""

from pipeline.training.work_folder import read_texts
from transforms.compression.onnx_export.export import export
from transforms.compression.onnx_export.options import ExportOptions
from transforms.compression.onnx_export.summary import ExportSummary

#: Texts of the user that are read.
_MOST_TEXTS = 64


def run(options: ExportOptions) -> ExportSummary:
    """Export a model.

    Raises:
        BadInput: the model, its head or a file of texts can't be used.
        AlbeamError: the file does not give what the model gives.
    """
    return export(options, read_texts(options.texts)[:_MOST_TEXTS])
